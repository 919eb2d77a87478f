"""Detection of dense scenes: what parity and agreement say of 64 pictures of twelve cells, after a short training.

    python benchmarks/dense_scenes.py --out DIR [--targets host host-openvino]

Pictures are drawn (`tests/dense_scenes.py`: blood cells of three classes, twelve a picture, which touch); EfficientNet-
Lite0 is trained on 48 of them for five epochs, so that many scores are close to the threshold and the raw outputs of
the artifact are a median of one LSB off. The run is kept in `--out`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import common

sys.path.insert(0, str(common.HERE.parent / "tests"))


def run_of(out: Path) -> Path:
    """The run directory, trained once."""
    import dense_scenes

    import edgeft

    run = out / "run"
    if not (run / "summary.json").is_file():
        data = dense_scenes.write_yolo(out / "data", {"train": 48, "val": 8, "test": 64})
        recipe: dict[str, Any] = {
            "task": "detect",
            "name": "cells",
            "model": {"name": "yolo_lite0", "weights": "pip:efficientnet-lite0", "args": {"size": [96, 128]}},
            "data": {"format": "yolo", "path": str(data)},
            "train": {"epochs": 5, "lr": 1e-3, "batch_size": 8, "augment": "none", "norm_stats": "freeze"},
            "quantize": {"epochs": 1, "calibration": "minmax"},
            "gates": {"max_drop": 0.05, "min_speedup": 0.0},
        }
        edgeft.tune(recipe, run, overwrite=True)

    return run


def section(reports: list[dict[str, Any]], host: dict[str, Any], used: dict[str, str]) -> str:
    head = ["target", "verdict", "AP50 float / int8", "parity with the quantized graph", "agreement of float and int8"]
    body = []
    for report in reports:
        gates = {(gate["name"], gate["metric"]): gate for gate in report["gates"]}
        accuracy, agreement = gates["accuracy", "AP50"], gates["agreement", "agreement"]
        parity = gates["parity", "quantized graph, test split"]
        figures = f"{accuracy['float']:.3f} / {accuracy['quantized']:.3f}"
        body.append([report["target"], report["verdict"], figures, parity["why"], agreement["why"]])

    return f"""## Verdicts on dense scenes

64 drawn pictures of twelve blood cells; EfficientNet-Lite0 after five epochs on 48 pictures.

{common.table(head, body)}

{common.footing(host, used)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the run and the bundles")
    parser.add_argument("--targets", nargs="+", default=["host", "host-openvino", "host-litert"])
    arguments = parser.parse_args()
    import edgeft

    host = common.machine()
    reports = edgeft.export(run_of(arguments.out), arguments.targets, arguments.out / "b", overwrite=True)
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "pycocotools")
    rows = [{key: report[key] for key in ("target", "verdict", "gates")} for report in reports]
    common.publish("dense_scenes", section(reports, host, used), {"machine": host, "versions": used, "reports": rows})


if __name__ == "__main__":
    main()
