"""Street scenes (CamVid) through the public commands: LR-ASPP, float and int8, each artifact in its own runtime.

    python benchmarks/camvid.py --out DIR [--run RUN]

`EDGEFT_DATA` names the folder with the data. A run of examples/segmentation/recipe.toml is tuned in `--out` unless
`--run` names one that has the schemes of this machine's profiles. The 59 test pictures choose nothing.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import common

GOAL, MOST_DROP = 0.40, 0.01


def tuned(root: Path, run: Path) -> None:
    """Tune the example's recipe for this machine's runtimes, taken up where it stands."""
    import edgeft
    from edgeft.config import recipe as recipes

    made = recipes.as_table(recipes.load(common.HERE.parent / "examples" / "segmentation" / "recipe.toml"))
    made["data"]["path"] = str(root / "04_segmentation" / "camvid")
    made["export"] = {"targets": list(common.TARGETS.values())}
    edgeft.tune(made, run, resume=(run / "recipe.toml").exists(), say=print)


def row(report: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one bundle's report."""
    accuracy = next(g for g in report["gates"] if g["name"] == "accuracy")
    manifest = json.loads((Path(report["path"]) / "manifest.json").read_text())
    return {
        "backend": report["backend"],
        "verdict": report["verdict"],
        "scheme": manifest.get("scheme"),
        **{key: accuracy[key] for key in ("float", "quantized", "drop", "ci95", "n")},
        "speedup": report["latency"]["speedup"],
        "speedup_ci99": report["latency"]["ci99"],
        "int8_share": report["int8_share"],
        "size": report["size"],
        "per_class": report.get("per_class"),
        "worst_class": report.get("worst_class"),
        "extra_metrics": report.get("extra_metrics"),
    }


def table(rows: list[dict[str, Any]]) -> str:
    head = ("runtime", "n", "float", "int8", "drop, points", "speed-up", "int8 share", "MB float / int8", "goal met")
    cells = []
    for r in rows:
        low, high = (f"{100 * v:+.2f}" for v in r["ci95"])
        sizes = " / ".join(f"{(r['size'][key] or 0) / 1e6:.1f}" for key in ("float_bytes", "quantized_bytes"))
        met = r["float"] >= GOAL and r["drop"] <= MOST_DROP
        cells.append(
            (
                common.RUNTIMES[r["backend"]],
                r["n"],
                f"{100 * r['float']:.2f}",
                f"{100 * r['quantized']:.2f}",
                f"{100 * r['drop']:+.2f} [{low}, {high}]",
                "not measured" if r["speedup"] is None else f"{r['speedup']:.2f}",
                "not measured" if r["int8_share"] is None else f"{r['int8_share']:.3f}",
                sizes,
                "yes" if met else "**no**",
            )
        )

    return common.table(head, cells)


def classes(rows: list[dict[str, Any]]) -> str:
    """IoU of each class, float / int8, and the accuracy of pixels."""
    labels = list(rows[0]["per_class"])
    head = ("IoU, float / int8", *(f"{common.RUNTIMES[r['backend']]} ({r['scheme']['name']})" for r in rows))
    both = [[r["per_class"][label] for r in rows] for label in labels]
    both.append([r["extra_metrics"]["pixel_accuracy"] for r in rows])

    return common.table(
        head,
        [
            (label, *(f"{100 * v['float']:.1f} / {100 * v['quantized']:.1f}" for v in found))
            for label, found in zip([*labels, "pixel accuracy"], both)
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the run and its bundles")
    parser.add_argument("--run", type=Path, help="a finished run")
    arguments = parser.parse_args()
    import edgeft

    host, run = common.machine(), arguments.run or arguments.out / "run"
    if not arguments.run:
        tuned(Path(os.environ["EDGEFT_DATA"]), run)

    targets = tuple(common.TARGETS.values())
    rows = [row(r) for r in edgeft.export(run, targets, arguments.out / "bundles", overwrite=True, say=print)]
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch")
    section = (
        "## Segmentation\n\nCamVid, LR-ASPP on EfficientNet-Lite0, mIoU in per cent over 11 classes; drop in points "
        "against the float artifact of the same runtime, with its paired 95 % interval. The scheme of each "
        f"runtime stands over its classes (affine-w7: 7-bit weights).\n\n{table(rows)}\n\n{classes(rows)}\n\n{common.footing(host, used)}"
    )
    common.publish("camvid", section, {"machine": host, "versions": used, "rows": rows})


if __name__ == "__main__":
    main()
