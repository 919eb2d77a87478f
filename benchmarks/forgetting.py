"""How much of the old voices a new one costs: by what the gate allows, and on more recordings than FSDD's test split has.

    python benchmarks/forgetting.py --out DIR --voices DIR2 [--target host] [--folds 0] [--limits 0.01]

`EDGEFT_DATA` names the folder with the data; DIR2 is the --out of personalization.py, or of acceptance.py (with `--target
host`), whose tuned voices are taken up. The same is done twice more (`--folds`) with three other takes of each digit held out
of the tuning, which judge the old voices (90 a time), while the fourth speaker's ten takes that teach nothing judge the
new one. `max_forget` 0.01, the default, lets no reference recording of 90 be lost, 0.02 one.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import common
import numpy as np
import personalization
from policies import SPEAKERS, sound_recipe, voice

FOLDS = (range(10, 13), range(13, 16))
TAILS = {"head": "head", "last": "head and last block"}
LIMITS = (0.01, 0.02)
#: {tail and limit: {new, old: [right before, right after] by recording}}
Right = dict[str, dict[str, list[list[int]]]]


def learned(folder: Path, few: str, tests: dict[str, str], target: str, limits: Sequence[float]) -> Right:
    """Every tail and limit on the tuned model in `folder`; `few` holds what teaches."""
    import edgeft

    done = folder / "right.json"
    found: Right = json.loads(done.read_text()) if done.exists() else {}
    for tail in TAILS:
        for limit in limits:
            name = f"{tail} {limit:g}"
            if name in found:
                continue
            out = folder / name.replace(" ", "-")
            settings = [f'personalize.tail="{tail}"', f"personalize.max_forget={limit:g}"]
            edgeft.export(folder / "run", [target], out, overwrite=True, overrides=settings)
            state = out / "state.npz"
            state.unlink(missing_ok=True)
            edgeft.personalize(out / target, few, state=state)
            states = (None, state if state.exists() else None)
            found[name] = {
                key: [personalization.right(out / target, path, one) for one in states] for key, path in tests.items()
            }

    done.write_text(json.dumps(found))
    print(folder.name, {k: {t: [sum(r) for r in v] for t, v in f.items()} for k, f in found.items()}, flush=True)
    return found


def held_out(root: Path, out: Path, who: str, fold: int, target: str, limits: Sequence[float]) -> Right:
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
    recipe |= {"quantize": {"epochs": 2}, "export": {"targets": [target]}, "gates": {"min_speedup": 0.0}}

    if not (folder / "run" / "summary.json").exists():
        import edgeft

        edgeft.tune({**recipe, "personalize": {"tail": "head"}}, folder / "run", overwrite=True)

    return learned(folder, f"{few}/train", {"new": few, "old": known}, target, limits)


def tested(voices: Path, who: str, target: str, limits: Sequence[float]) -> Right:
    """One speaker on FSDD's test split."""
    folder = next(f for f in (voices / f"voice-{who}", voices / f"one-{who}") if f.is_dir())
    tests = {"new": str(folder / "few"), "old": str(folder / "known")}
    return learned(folder, str(folder / "few" / "train"), tests, target, limits)


def change(pairs: list[list[list[int]]]) -> str:
    """Points that are gained, with the 95 % interval of a paired bootstrap over the recordings."""
    before, after = (np.concatenate([np.asarray(pair[k]) for pair in pairs]) for k in (0, 1))
    rng = np.random.default_rng(0)
    draws = (after - before)[rng.integers(0, len(before), (4000, len(before)))].mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{100 * (after - before).mean():+.2f} [{100 * low:+.2f}, {100 * high:+.2f}], n = {len(before)}"


def table(test: dict[str, Right], more: dict[str, Right], limits: Sequence[float]) -> str:
    """A row for each tail and limit; the recordings held out of more tunings have columns where there are any."""
    cells = []
    for tail, words in TAILS.items():
        for limit in limits:
            new, old = (
                [[one[f"{tail} {limit:g}"][key] for one in part.values()] for part in (test, more)]
                for key in ("new", "old")
            )
            parts = [old[0], old[1], [*chain(*old)]] if more else [old[0]]
            cells.append([words, f"{limit:g}", change([*chain(*new)]), *map(change, parts)])

    head = [
        "what learns",
        "`max_forget`",
        "new voice, all",
        "old voices, test split",
        *(["others", "all"] if more else []),
    ]
    return common.table(head, cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    parser.add_argument("--voices", type=Path, required=True, help="the --out of personalization.py or acceptance.py")
    parser.add_argument("--target", default=common.TARGETS["litert"], help="a target of the runs in --voices")
    parser.add_argument("--folds", type=int, choices=range(len(FOLDS) + 1), default=len(FOLDS))
    parser.add_argument("--limits", type=float, nargs="+", default=list(LIMITS))
    arguments = parser.parse_args()
    out, root, host = arguments.out, Path(os.environ["EDGEFT_DATA"]), common.machine()
    out.mkdir(parents=True, exist_ok=True)
    options = (arguments.target, arguments.limits)

    test = {who: tested(arguments.voices, who, *options) for who in SPEAKERS}
    more = {f"{who}-{i}": held_out(root, out, who, i, *options) for i in range(arguments.folds) for who in SPEAKERS}
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch", "numpy")
    held = ", on other recordings that were held out of more tunings, and on all of them" if more else ""
    section = (
        "## Forgetting, by what the gate allows\n\nFSDD, 5 recordings a digit of the new voice, target "
        f"`{arguments.target}`; four speakers in turn. Points of accuracy that are gained, with the 95 % interval of a "
        f"paired bootstrap: on the test split{held}.\n\n"
        f"{table(test, more, arguments.limits)}\n\n{common.footing(host, used)}"
    )
    common.publish("forgetting", section, {"machine": host, "versions": used, "test": test, "more": more})


if __name__ == "__main__":
    main()
