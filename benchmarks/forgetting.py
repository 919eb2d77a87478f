"""How much of the old voices a new one costs, on more recordings than the test split of FSDD has.

    python benchmarks/forgetting.py --out DIR

`EDGEFT_DATA` names the folder with the data. As `voices` of personalization.py, but twice over with three other takes of
each digit held out of the tuning, which judge the old voices (90 a time), while the fourth speaker's ten takes that
teach nothing judge the new one. The last column adds the old voices of personalization.py's test split.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import common
import numpy as np
import personalization
from policies import SPEAKERS, sound_recipe, voice

TARGET = common.TARGETS["litert"]
FOLDS = (range(10, 13), range(13, 16))
TAILS = {"head": "head", "last": "head and last block"}


def learned(root: Path, out: Path, who: str, fold: int) -> dict[str, Any]:
    """{tail: {new, old: [right before, right after] by recording}} of one speaker and one choice of takes."""
    import edgeft

    folder, held = out / f"voice-{who}-{fold}", FOLDS[fold]
    done = folder / "right.json"
    if done.exists():
        return json.loads(done.read_text())
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
    found: dict[str, Any] = {}
    for tail in TAILS:
        bundle = personalization.exported(recipe, folder, tail, [TARGET]) / TARGET
        state = folder / f"{tail}.npz"
        state.unlink(missing_ok=True)
        edgeft.personalize(bundle, f"{few}/train", state=state)
        kept = state if state.exists() else None
        found[tail] = {
            name: [personalization.right(bundle, path), personalization.right(bundle, path, kept)]
            for name, path in (("new", few), ("old", known))
        }
    done.write_text(json.dumps(found))
    print(who, fold, {t: {k: [sum(r) for r in v] for k, v in f.items()} for t, f in found.items()}, flush=True)
    return found


def change(pairs: list[list[list[int]]]) -> str:
    """Points that are gained, with the 95 % interval of a paired bootstrap over the recordings."""
    before, after = (np.concatenate([np.asarray(pair[k]) for pair in pairs]) for k in (0, 1))
    rng = np.random.default_rng(0)
    draws = (after - before)[rng.integers(0, len(before), (4000, len(before)))].mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{100 * (after - before).mean():+.2f} [{100 * low:+.2f}, {100 * high:+.2f}], n = {len(before)}"


def tested(out: Path, tail: str) -> list[int] | None:
    """(lost, n) on the test split, of the results of personalization.py that are kept."""
    kept = common.HERE / "results" / "personalization.json"
    if not kept.exists():
        return None
    lost = n = 0
    for one in json.loads(kept.read_text())["voices"].values():
        rows = one[TARGET]
        (before, count), (after, _) = rows["none"]["old"], rows[tail]["old"]
        lost, n = lost + round(before * count) - round(after * count), n + count
    return [lost, n]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    arguments = parser.parse_args()
    out, root, host = arguments.out, Path(os.environ["EDGEFT_DATA"]), common.machine()
    out.mkdir(parents=True, exist_ok=True)
    found = {f"{who}-{fold}": learned(root, out, who, fold) for fold in range(len(FOLDS)) for who in SPEAKERS}
    cells = []
    for tail, words in TAILS.items():
        old = [one[tail]["old"] for one in found.values()]
        lost = sum(sum(before) - sum(after) for before, after in old)
        n, test = sum(len(before) for before, _ in old), tested(out, tail)
        both = f"{-100 * (lost + test[0]) / (n + test[1]):+.2f}, n = {n + test[1]}" if test else ""
        cells.append([words, change([one[tail]["new"] for one in found.values()]), change(old), both])
    head = ["what learns", "new voice, points [95 %]", "old voices, points [95 %]", "old voices, with the test split"]
    used = common.versions("torch", "ai-edge-litert", "litert-torch", "numpy")
    section = (
        "## Forgetting, on more recordings\n\nFSDD, 5 recordings a digit of the new voice, LiteRT; four speakers in turn, "
        f"twice with other takes held out.\n\n{common.table(head, cells)}\n\n{common.footing(host, used)}"
    )
    common.publish("forgetting", section, {"machine": host, "versions": used, "results": found})


if __name__ == "__main__":
    main()
