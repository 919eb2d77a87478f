"""Spoken digits (FSDD) through the public commands: float, PTQ and QAT of DS-CNN, each artifact in its own runtime.

    python benchmarks/keywords.py --out DIR [--seeds 0 1 2] [--speakers]

`EDGEFT_DATA` names the folder with the data: 600 recordings to train on, 200 to test on, as the data set divides them
(by the number of the recording; the same four speakers in both). Validation is cut from the training recordings by
whole recording numbers; the test recordings choose nothing. With `--speakers` the same recipe is also trained four times
without one of the speakers and tested on that one: how well it understands a voice that it never heard.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import common
from accuracy import RUNTIMES, one

from edgeft.config import recipe as recipes

GOAL = 0.97
MOST_DROP = 0.005
SPEAKERS = ("jackson", "nicolas", "theo", "yweweler")


def recipe(root: Path, seed: int) -> dict[str, Any]:
    """examples/keywords/recipe.toml with a seed, this machine's runtimes and the place of the data."""
    made = recipes.as_table(recipes.load(common.HERE.parent / "examples" / "keywords" / "recipe.toml"))
    made["name"] = f"digits-{seed}"
    made["data"]["path"] = str(root / "05_speech" / "fsdd")
    made["train"]["seed"] = seed
    made["export"] = {"targets": list(RUNTIMES)}
    return made


def stranger(root: Path, speaker: str, out: Path) -> dict[str, Any]:
    """All recordings of `speaker` are the test, those of the others are learned from; float and PTQ in torch."""
    import edgeft

    folder = out / f"without-{speaker}"
    for file in sorted((root / "05_speech" / "fsdd").glob("*/*.wav")):
        part = "test" if file.stem.split("_")[1] == speaker else "train"
        (folder / part).mkdir(parents=True, exist_ok=True)
        if not (folder / part / file.name).exists():
            (folder / part / file.name).symlink_to(file.resolve())

    made = recipe(root, 0)
    made["data"]["path"], made["quantize"]["method"] = str(folder), "ptq"
    summary = edgeft.tune(made, out / f"run-without-{speaker}", overwrite=True)
    return {"speaker": speaker, **{key: summary[key] for key in ("float", "ptq", "n")}}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| run | n | float | PTQ (torch) | QAT (torch) | ONNX Runtime | OpenVINO | LiteRT | goal met |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]

    for row in rows:
        s = row["summary"]
        cells = [f"{100 * s[key]:.1f}" for key in ("float", "ptq", "quantized")]
        found = [row["runtimes"][name] for name in common.RUNTIMES]
        cells += [f"{100 * r['quantized']:.1f} (drop {100 * r['drop']:+.1f})" for r in found]
        met = s["float"] >= GOAL and all(r["quantized"] >= GOAL and r["drop"] <= MOST_DROP for r in found)
        lines.append(f"| {row['name']} | {s['n']} | " + " | ".join(cells) + f" | {'yes' if met else '**no**'} |")

    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--speakers", action="store_true", help="also leave out each speaker in turn")
    arguments = parser.parse_args()
    root = Path(os.environ["EDGEFT_DATA"])
    host = common.machine()
    rows = [one(recipe(root, seed), arguments.out) for seed in arguments.seeds]
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch")
    seconds = ", ".join(f"{row['summary']['seconds']:.0f} s" for row in rows)
    section = (
        "## Keywords\n\nSpoken digits, DS-CNN, accuracy in per cent; drop in points against the float artifact of the "
        f"same runtime. The goal is {100 * GOAL:.0f} % in float and int8, and at most {100 * MOST_DROP:.1f} points of "
        f"drop. One test sample is half a point. Tuning took {seconds}.\n\n{table(rows)}"
    )
    unheard = [stranger(root, name, arguments.out) for name in SPEAKERS] if arguments.speakers else []

    if unheard:
        cells = [(u["speaker"], u["n"], f"{100 * u['float']:.1f}", f"{100 * u['ptq']:.1f}") for u in unheard]
        section += "\n\nA speaker that was not learned from (trained on the three others, in torch):\n\n"
        section += common.table(("speaker", "n", "float", "PTQ"), cells)

    section += f"\n\n{common.footing(host, used)}"
    common.publish("keywords", section, {"machine": host, "versions": used, "rows": rows, "unheard": unheard})


if __name__ == "__main__":
    main()
