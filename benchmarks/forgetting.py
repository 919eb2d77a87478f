"""How much of the old voices a new one costs: by what the gate allows, and on more recordings than FSDD's test split has.

    python benchmarks/forgetting.py --out DIR --voices DIR2

`EDGEFT_DATA` names the folder with the data; DIR2 is the --out of personalization.py, whose tuned voices are taken up.
The same is done twice more with three other takes of each digit held out of the tuning, which judge the old voices (90
a time), while the fourth speaker's ten takes that teach nothing judge the new one. `max_forget` 0.01, the default, lets
no reference recording of 90 be lost, 0.02 one.
"""

from __future__ import annotations

import argparse
import json
import os
from itertools import chain
from pathlib import Path

import common
import numpy as np
import personalization
from policies import SPEAKERS, sound_recipe, voice

TARGET = common.TARGETS["litert"]
FOLDS = (range(10, 13), range(13, 16))
TAILS = {"head": "head", "last": "head and last block"}
LIMITS = (0.01, 0.02)
#: {tail and limit: {new, old: [right before, right after] by recording}}
Right = dict[str, dict[str, list[list[int]]]]


def learned(folder: Path, few: str, tests: dict[str, str]) -> Right:
    """Every tail and limit on the tuned model in `folder`; `few` holds what teaches."""
    import edgeft

    done = folder / "right.json"
    if done.exists():
        return json.loads(done.read_text())

    found: Right = {}
    for tail in TAILS:
        for limit in LIMITS:
            name = f"{tail} {limit:g}"
            out = folder / name.replace(" ", "-")
            settings = [f'personalize.tail="{tail}"', f"personalize.max_forget={limit:g}"]
            edgeft.export(folder / "run", [TARGET], out, overwrite=True, overrides=settings)
            state = out / "state.npz"
            state.unlink(missing_ok=True)
            edgeft.personalize(out / TARGET, few, state=state)
            states = (None, state if state.exists() else None)
            found[name] = {
                key: [personalization.right(out / TARGET, path, one) for one in states] for key, path in tests.items()
            }

    done.write_text(json.dumps(found))
    print(folder.name, {k: {t: [sum(r) for r in v] for t, v in f.items()} for k, f in found.items()}, flush=True)
    return found


def held_out(root: Path, out: Path, who: str, fold: int) -> Right:
    """One speaker and one choice of takes."""
    folder, held = out / f"voice-{who}-{fold}", FOLDS[fold]
    known = voice(
        root,
        folder / "known",
        train=lambda split, speaker, take: split == "train" and speaker != who and take not in held,
        test=lambda split, speaker, take: split == "train" and speaker != who and take in held,
    )
    few = voice(
        root,
        folder / "few",
        train=lambda split, speaker, take: split == "train" and speaker == who and take < 10,
        test=lambda split, speaker, take: split == "train" and speaker == who and take >= 10,
    )
    recipe = sound_recipe(known, epochs=20)
    recipe |= {"quantize": {"epochs": 2}, "export": {"targets": [TARGET]}, "gates": {"min_speedup": 0.0}}

    if not (folder / "run" / "summary.json").exists():
        import edgeft

        edgeft.tune({**recipe, "personalize": {"tail": "head"}}, folder / "run", overwrite=True)

    return learned(folder, f"{few}/train", {"new": few, "old": known})


def tested(voices: Path, who: str) -> Right:
    """One speaker on FSDD's test split."""
    folder = voices / f"voice-{who}"
    return learned(folder, str(folder / "few" / "train"), {"new": str(folder / "few"), "old": str(folder / "known")})


def change(pairs: list[list[list[int]]]) -> str:
    """Points that are gained, with the 95 % interval of a paired bootstrap over the recordings."""
    before, after = (np.concatenate([np.asarray(pair[k]) for pair in pairs]) for k in (0, 1))
    rng = np.random.default_rng(0)
    draws = (after - before)[rng.integers(0, len(before), (4000, len(before)))].mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{100 * (after - before).mean():+.2f} [{100 * low:+.2f}, {100 * high:+.2f}], n = {len(before)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    parser.add_argument("--voices", type=Path, required=True, help="the --out of personalization.py")
    arguments = parser.parse_args()
    out, root, host = arguments.out, Path(os.environ["EDGEFT_DATA"]), common.machine()
    out.mkdir(parents=True, exist_ok=True)
    test = {who: tested(arguments.voices, who) for who in SPEAKERS}
    more = {f"{who}-{fold}": held_out(root, out, who, fold) for fold in range(len(FOLDS)) for who in SPEAKERS}
    cells = []

    for tail, words in TAILS.items():
        for limit in LIMITS:
            new, old = (
                [[one[f"{tail} {limit:g}"][key] for one in part.values()] for part in (test, more)]
                for key in ("new", "old")
            )
            cells.append([words, f"{limit:g}", change([*chain(*new)]), *map(change, old), change([*chain(*old)])])

    head = ["what learns", "`max_forget`", "new voice, all", "old voices, test split", "others", "all"]
    used = common.versions("torch", "ai-edge-litert", "litert-torch", "numpy")
    section = (
        "## Forgetting, by what the gate allows\n\nFSDD, 5 recordings a digit of the new voice, LiteRT; four speakers in "
        "turn. Points of accuracy that are gained, with the 95 % interval of a paired bootstrap: on the test split, on "
        "other recordings that were held out of two more tunings, and on all of them.\n\n"
        f"{common.table(head, cells)}\n\n{common.footing(host, used)}"
    )
    common.publish("forgetting", section, {"machine": host, "versions": used, "test": test, "more": more})


if __name__ == "__main__":
    main()
