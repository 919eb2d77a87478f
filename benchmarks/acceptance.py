"""Is a new voice accepted whatever the seed? The verdict, gains and losses of personalization over seeds.

    python benchmarks/acceptance.py --out DIR [--speakers jackson nicolas] [--seeds 0 1 2 3 4]

DS-CNN is tuned on all speakers of FSDD but one, and its head is personalized to that one from five recordings a digit,
once a seed, in ONNX Runtime. What is accepted is judged on the test split, which neither learning nor judging has seen.
Runs and bundles are kept in `--out`. Needs `EDGEFT_DATA`.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import common
import personalization
from policies import SPEAKERS, sound_recipe, voice


def exported(root: Path, folder: Path, who: str) -> Path:
    """The bundle of a model that has not heard `who`, and folders of `who` (few) and of the others (known)."""
    import edgeft

    known = voice(
        root,
        folder / "known",
        train=lambda split, speaker, take: split == "train" and speaker != who,
        test=lambda split, speaker, take: split == "test" and speaker != who,
    )
    voice(
        root,
        folder / "few",
        train=lambda split, speaker, take: split == "train" and speaker == who and take < 10,
        test=lambda split, speaker, take: split == "test" and speaker == who,
    )
    recipe = sound_recipe(known, epochs=20)
    recipe |= {"quantize": {"epochs": 2}, "export": {"targets": ["host"]}, "gates": {"min_speedup": 0.0}}
    if not (folder / "run" / "summary.json").exists():
        edgeft.tune({**recipe, "personalize": {"tail": "head"}}, folder / "run", overwrite=True)

    bundle = folder / "b" / "host"
    if not (bundle / "manifest.json").exists():
        edgeft.export(folder / "run", ["host"], folder / "b", overwrite=True)

    return bundle


def measured(bundle: Path, folder: Path, seed: int) -> dict[str, Any]:
    """One personalization: its verdict and figures, and points gained on the test split of the new and the old voices."""
    import edgeft

    state = folder / f"seed-{seed}.npz"
    state.unlink(missing_ok=True)
    result = edgeft.personalize(bundle, folder / "few" / "train", state=state, seed=seed)
    kept = state if state.exists() else None
    row = {key: result[key] for key in ("verdict", "gain", "gain_ci95", "forgetting", "confidence_loss", "share")}
    for key in ("few", "known"):
        row[key] = [personalization.right(bundle, str(folder / key), one) for one in (None, kept)]

    return row


def change(rows: list[dict[str, Any]], key: str) -> str:
    """Points gained over all seeds, least to most."""
    points = [100 * (sum(row[key][1]) - sum(row[key][0])) / len(row[key][0]) for row in rows]
    return f"{sum(points) / len(points):+.1f} ({min(points):+.1f} to {max(points):+.1f}), n = {len(rows[0][key][0])}"


def section(voices: dict[str, list[dict[str, Any]]], host: dict[str, Any], used: dict[str, str]) -> str:
    body = []
    for who, rows in voices.items():
        low = min(row["gain_ci95"][0] for row in rows)
        accepted = sum(row["verdict"] == "pass" for row in rows)
        body.append([who, f"{accepted} of {len(rows)}", f"{100 * low:.1f}", change(rows, "few"), change(rows, "known")])

    head = ["new voice", "accepted", "lowest bound of a gain", "new voice, test split", "old voices, test split"]
    return f"""## Acceptance of a new voice

FSDD, five recordings a digit of the new voice, the head of DS-CNN in ONNX Runtime; points of accuracy, mean over seeds (least to most).
The lowest bound is that of the 95 % intervals of cross-validated gains, which the verdict asks to be above 0.

{common.table(head, body)}

{common.footing(host, used)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    parser.add_argument("--speakers", nargs="*", choices=SPEAKERS, default=list(SPEAKERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    root, host = Path(os.environ["EDGEFT_DATA"]), common.machine()
    voices = {}

    for who in arguments.speakers:
        folder = arguments.out / f"one-{who}"
        bundle = exported(root, folder, who)
        voices[who] = [measured(bundle, folder, seed) for seed in arguments.seeds]
        print(who, json.dumps([row["verdict"] for row in voices[who]]), flush=True)

    used = common.versions("torch", "onnxruntime", "numpy")
    common.publish("acceptance", section(voices, host, used), {"machine": host, "versions": used, "voices": voices})


if __name__ == "__main__":
    main()
