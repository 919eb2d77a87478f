"""Detection of dense scenes: what parity and agreement say of 64 pictures of twelve cells, after a short training.

    python benchmarks/dense_scenes.py --out DIR [--only cells drawn] [--targets host host-openvino]

`cells` are put together of real blood cells (`cell_scenes.py`, crops of BCCD in `EDGEFT_DATA`), `drawn` are drawn
(`tests/dense_scenes.py`), both of three classes, twelve cells a picture, some of which touch. EfficientNet-Lite0 is trained on
48 of them for five epochs, so that many scores are close to the threshold. Beside the verdict stands what judging by
whole pictures would have left of it. Runs and bundles are kept in `--out`. Needs pycocotools.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import cell_scenes
import common
import numpy as np

sys.path.insert(0, str(common.HERE.parent / "tests"))
COUNTS = {"train": 48, "val": 8, "test": 64}
TITLES = {"cells": "cells of BCCD", "drawn": "drawn"}
SIZES = {"cells": [cell_scenes.HEIGHT, cell_scenes.WIDTH], "drawn": [96, 128]}


def pictures(name: str, out: Path) -> Path:
    """The folder of the scenes, in the format yolo."""
    if name == "cells":
        crops = Path(os.environ["EDGEFT_DATA"]) / "01_image_medical" / "bccd_cells"
        return cell_scenes.write_yolo(out / "data-cells", crops, COUNTS)
    import dense_scenes

    folder = out / "data"
    return folder if (folder / "data.yaml").is_file() else dense_scenes.write_yolo(folder, COUNTS)


def trained(name: str, data: Path, run: Path) -> Path:
    """The run directory, trained once."""
    import edgeft

    recipe: dict[str, Any] = {
        "task": "detect",
        "name": name,
        "model": {"name": "yolo_lite0", "weights": "pip:efficientnet-lite0", "args": {"size": SIZES[name]}},
        "data": {"format": "yolo", "path": str(data)},
        "train": {"epochs": 5, "lr": 1e-3, "batch_size": 8, "augment": "none", "norm_stats": "freeze"},
        "quantize": {"epochs": 1, "calibration": "minmax"},
        "gates": {"max_drop": 0.05, "min_speedup": 0.0},
    }
    if not (run / "summary.json").is_file():
        edgeft.tune(recipe, run, overwrite=True)

    return run


def by_pictures(bundle: Path, data: Path) -> dict[str, Any]:
    """What float and the artifact answer on the test split, counted by whole pictures: one box decides for all of it.

    `counted` pictures have no box whose score is close to the threshold, `same` of them the same boxes.
    """
    import edgeft
    from edgeft.verify.evaluate import evaluate

    opened = edgeft.load(bundle)
    found = evaluate(opened, data)
    decisions = opened.task.compare(found.float_outputs, found.quantized_outputs)
    clear = [bool(decisions.counted[decisions.sample == i].all()) for i in range(len(found.targets))]
    same = [bool(decisions.equal[decisions.sample == i].all()) for i in range(len(found.targets))]

    return {"n": len(clear), "counted": sum(clear), "same": int(np.logical_and(clear, same).sum())}


def measured(name: str, out: Path, targets: list[str]) -> list[dict[str, Any]]:
    """The gates of each target's bundle, and its count by pictures."""
    import edgeft

    data = pictures(name, out)
    run = trained(name, data, out / ("run" if name == "drawn" else f"run-{name}"))
    bundles = out / "bundles" / name
    lacking = [target for target in targets if not (bundles / target / "report.json").is_file()]
    if lacking:
        edgeft.export(run, lacking, bundles, overwrite=True)

    reports = [json.loads((bundles / target / "report.json").read_text()) for target in targets]
    kept = ("target", "verdict", "gates")
    return [
        {**{key: report[key] for key in kept}, "by_pictures": by_pictures(bundles / target, data)}
        for target, report in zip(targets, reports)
    ]


def line(name: str, row: dict[str, Any]) -> list[str]:
    gates = {(gate["name"], gate["metric"]): gate for gate in row["gates"]}
    accuracy, agreement = gates["accuracy", "AP50"], gates["agreement", "agreement"]
    parity = gates["parity", "quantized graph, test split"]
    low, high = (100 * end for end in accuracy["ci95"])
    figures = f"{100 * accuracy['float']:.1f} / {100 * accuracy['quantized']:.1f}, {100 * accuracy['drop']:+.1f}"
    whole = row["by_pictures"]

    return [
        TITLES[name],
        row["target"],
        row["verdict"],
        f"{figures} [{low:+.1f}, {high:+.1f}]",
        parity["why"],
        agreement["why"],
        f"{whole['counted']} of {whole['n']} count, {whole['same']} of them the same",
    ]


def section(tables: dict[str, list[dict[str, Any]]], host: dict[str, Any], used: dict[str, str]) -> str:
    head = ["scenes", "target", "verdict", "AP50, %: float / int8, drop [95 %]", "parity with the quantized graph"]
    head += ["agreement of float and int8", "by whole pictures"]
    body = [line(name, row) for name, rows in tables.items() for row in rows]

    return f"""## Verdicts on dense scenes

{COUNTS["test"]} pictures of twelve blood cells each, judged box by box; EfficientNet-Lite0 after five epochs on {COUNTS["train"]} pictures. The last
column has the agreement by whole pictures: a picture counts when none of its boxes is close to the threshold.

{common.table(head, body)}

{common.footing(host, used)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and the bundles")
    parser.add_argument("--only", nargs="*", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--targets", nargs="+", default=["host", "host-openvino", "host-litert"])
    arguments = parser.parse_args()
    host = common.machine()

    tables = {name: measured(name, arguments.out, arguments.targets) for name in arguments.only}
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "pycocotools")
    common.publish("dense_scenes", section(tables, host, used), {"machine": host, "versions": used, "tables": tables})


if __name__ == "__main__":
    main()
