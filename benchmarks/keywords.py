"""Spoken digits (FSDD) through the public commands: float, PTQ and QAT of DS-CNN, each artifact in its own runtime.

    python benchmarks/keywords.py --out DIR [--seeds 0 1 2]

`EDGEFT_DATA` names the folder with the data: 600 recordings to train on, 200 to test on, as the data set divides them
(by the number of the recording; the same four speakers in both). Validation is cut from the training recordings by
whole recording numbers; the test recordings choose nothing.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import common
from accuracy import RUNTIMES, one

GOAL = 0.97
MOST_DROP = 0.005


def recipe(root: Path, seed: int) -> dict[str, Any]:
    """examples/keywords/recipe.toml with a seed and this machine's runtimes."""
    return {
        "task": "keyword",
        "name": f"digits-{seed}",
        "model": {"source": "builtin", "name": "ds_cnn"},
        "data": {
            "format": "wav-folder",
            "path": str(root / "05_speech" / "fsdd"),
            "pattern": "{label}_{speaker}_{take}",
            "group": "take",
        },
        "train": {"seed": seed, "epochs": 30, "lr": 3e-3, "batch_size": 32, "augment": "light"},
        "quantize": {"method": "qat", "epochs": 5, "lr": 1e-4},
        "export": {"targets": list(RUNTIMES)},
        "gates": {"min_speedup": 0.0},
    }


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
    arguments = parser.parse_args()
    root = Path(os.environ["EDGEFT_DATA"])
    host = common.machine()
    rows = [one({**recipe(root, seed), "update": {}}, arguments.out) for seed in arguments.seeds]
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch")
    seconds = ", ".join(f"{row['summary']['seconds']:.0f} s" for row in rows)
    section = (
        "## Keywords\n\nSpoken digits, DS-CNN, accuracy in per cent; drop in points against the float artifact of the "
        f"same runtime. The goal is {100 * GOAL:.0f} % in float and int8, and at most {100 * MOST_DROP:.1f} points of "
        f"drop. One test sample is half a point. Tuning took {seconds}.\n\n{table(rows)}\n\n{common.footing(host, used)}"
    )
    common.publish("keywords", section, {"machine": host, "versions": used, "rows": rows})


if __name__ == "__main__":
    main()
