"""Accuracy on real images through the public commands: float, PTQ and QAT, each artifact in its own runtime.

    python benchmarks/accuracy.py --out DIR [--only cifar pneumonia cells] [--seeds 0 1 2]

`EDGEFT_DATA` names the folder with the data. CIFAR-10's pretrained ResNet-20 has a published error of 8.27 %; it is
quantized with and without training (three fixed seeds; validation is cut from the training images, the 10,000 test
images choose nothing). PneumoniaMNIST and the blood cells are fine-tuned from those weights, wholly and head only.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np

RUNTIMES = ("host", "host-openvino", "host-litert")
GATES = {"min_speedup": 0.0, "max_drop": 0.02}


def recipe(name: str, data: dict[str, Any], weights: Path, seed: int, **tables: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "model": {"source": "builtin", "name": "resnet20", "weights": str(weights)},
        "data": data,
        "train": {"seed": seed, "batch_size": 128, "augment": "none", **tables.get("train", {})},
        "update": tables.get("update", {}),
        "quantize": tables.get("quantize", {}),
        "export": {"targets": list(RUNTIMES)},
        "gates": GATES,
    }


def experiments(root: Path, seeds: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """Recipes by experiment; what differs between two rows of one experiment is stated in them and nowhere else."""
    image = root / "01_image_medical"
    weights = image / "weights" / "resnet20-12fca82f.th"
    cifar = {"format": "npz", "path": str(root / "10_standard_images" / "cifar10_test10k_train5k.npz")}
    pneumonia = {"format": "npz", "path": str(image / "pneumoniamnist_28.npz"), "size": 32}
    cells = {"format": "image-folder", "path": str(image / "bccd_cells"), "size": 48}
    none = {"epochs": 0}
    tuned = {"epochs": 6, "lr": 1e-3, "head_lr": 5e-3, "augment": "light", "batch_size": 64}

    return {
        "cifar": [
            recipe("cifar-ptq", cifar, weights, 0, train=none, quantize={"method": "ptq"}),
            *(
                recipe(f"cifar-qat-{s}", cifar, weights, s, train=none, quantize={"epochs": 3, "lr": 2e-5})
                for s in seeds
            ),
        ],
        "pneumonia": [
            recipe("pneumonia-full", pneumonia, weights, 0, train=tuned, quantize={"epochs": 2}),
            recipe("pneumonia-head", pneumonia, weights, 0, train=tuned, update={"policy": "head"}),
        ],
        "cells": [
            recipe("cells-full", cells, weights, 0, train={**tuned, "epochs": 12}, quantize={"epochs": 3}),
            recipe("cells-head", cells, weights, 0, train={**tuned, "epochs": 12}, update={"policy": "head"}),
        ],
    }


def one(made: dict[str, Any], out: Path) -> dict[str, Any]:
    """Tune and export one recipe (taken up where it stands, when it was begun before); returns its figures."""
    import edgeft

    run, done = out / made["name"], out / f"{made['name']}.json"
    if done.is_file():
        return json.loads(done.read_text())

    say = lambda text: print(f"  {made['name']}: {text}", flush=True)  # noqa: E731
    summary = edgeft.tune(made, run, resume=(run / "recipe.toml").exists(), say=say)
    reports = edgeft.export(run, RUNTIMES, out / "bundles" / made["name"], overwrite=True, say=say)
    row = {
        "name": made["name"],
        "policy": made["update"].get("policy", "full"),
        "summary": {k: summary[k] for k in ("float", "ptq", "quantized", "n", "chance", "steps", "seconds")},
        "runtimes": {},
    }

    for report in reports:
        gates = {g["name"]: g for g in reversed(report["gates"])}
        accuracy = gates["accuracy"]
        row["runtimes"][report["backend"]] = {
            "quantized": accuracy["quantized"],
            "float": accuracy["float"],
            "drop": accuracy["drop"],
            "ci95": accuracy["ci95"],
            "agreement": gates["agreement"]["quantized"],
            "int8_share": report["int8_share"],
            "speedup": report["latency"]["speedup"],
            "ci99": report["latency"]["ci99"],
            "size": report["size"],
            "verdict": report["verdict"],
        }

    row["frozen"] = frozen(run, summary) if row["policy"] == "head" else None
    done.write_text(json.dumps(row, indent=2))
    return row


def frozen(run: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """Head-only: what of the fine-tuned float model differs, bit for bit, from the weights it started from."""
    from safetensors.torch import load_file

    from edgeft import models
    from edgeft.config import recipe as recipes

    made = recipes.load(run / "recipe.toml")
    before = models.build(models.ModelRequest(made.model, made.task, len(summary["labels"]))).module.state_dict()
    after = load_file(run / "float.safetensors")
    moved = sorted(n for n, v in after.items() if v.shape != before[n].shape or not bool((v == before[n]).all()))

    return {"tensors": len(after), "moved": moved}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| run | n | float | PTQ (torch) | QAT (torch) | ONNX Runtime | OpenVINO | LiteRT | moved |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]

    for row in rows:
        s = row["summary"]
        cells = [f"{100 * s[k]:.2f}" if s[k] is not None else "" for k in ("float", "ptq", "quantized")]
        for name in ("onnxruntime", "openvino", "litert"):
            r = row["runtimes"][name]
            low, high = (100 * v for v in r["ci95"])
            cells.append(f"{100 * r['quantized']:.2f} (drop {100 * r['drop']:+.2f} [{low:+.2f}, {high:+.2f}])")
        moved = ", ".join(row["frozen"]["moved"]) if row["frozen"] else "all" if row["policy"] == "full" else ""
        lines.append(f"| {row['name']} | {s['n']} | " + " | ".join(cells) + f" | {moved} |")

    qat = [r for r in rows if r["name"].startswith("cifar-qat")]
    if qat:
        for name in ("onnxruntime", "openvino", "litert"):
            drops = [100 * r["runtimes"][name]["drop"] for r in qat]
            lines.append("")
            lines.append(f"CIFAR-10 QAT on {name}: mean drop {np.mean(drops):+.3f} points over {len(drops)} seeds.")

    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and bundles (resumable)")
    parser.add_argument("--only", nargs="*", choices=["cifar", "pneumonia", "cells"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    root = Path(os.environ["EDGEFT_DATA"])
    rows = []

    for name, recipes in experiments(root, arguments.seeds).items():
        if arguments.only and name not in arguments.only:
            continue
        for made in recipes:
            rows.append(one(made, arguments.out))
            print(json.dumps(rows[-1]), flush=True)

    host = common.machine()
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch")
    section = (
        "## Accuracy\n\nPer cent; drop in points against the float artifact of the same runtime, with its paired 95 % "
        f"interval.\n\n{table(rows)}\n\n{common.footing(host, used)}"
    )
    common.publish("accuracy", section, {"machine": host, "versions": used, "rows": rows})


if __name__ == "__main__":
    main()
