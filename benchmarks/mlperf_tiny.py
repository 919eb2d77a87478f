"""MLPerf Tiny's reference models measured by edgeft's own data, preprocessing, metric and runtimes.

    python benchmarks/mlperf_tiny.py [--out DIR]

`EDGEFT_DATA` names the folder with the data. The published .tflite files (float and int8) of the keyword spotter
(DS-CNN) and of the image classifier (ResNet-8) run in LiteRT on the official test sets and on all 10,000 test images of
CIFAR-10; what is measured must be the known figure. With `--out` ResNet-8 is also rebuilt in torch from the published
Keras weights and taken through edgeft's own post-training quantization to all three runtimes (needs h5py).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import numpy as np

from edgeft import data, tasks
from edgeft.backends.litert import session as litert
from edgeft.config.recipe import Data
from edgeft.data import Dataset
from edgeft.inputs.batches import outputs_of, preprocessed

WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
#: of the keyword spotter's input: stored int8 -> MFCC
STEP, ZERO = 0.584703, 83


@dataclass(frozen=True)
class Case:
    """One published model on one test set, and the accuracy it is known to have there."""

    name: str
    task: str
    model: str
    samples: str
    known: float


CASES = (
    Case("DS-CNN float, kws01", "keyword", "kws_ref_model_float32.tflite", "kws01", 0.900),
    Case("DS-CNN int8, kws01", "keyword", "kws_ref_model.tflite", "kws01", 0.902),
    Case("ResNet-8 float, ic01", "classify", "pretrainedResnet.tflite", "ic01", 0.855),
    Case("ResNet-8 int8, ic01", "classify", "pretrainedResnet_quant.tflite", "ic01", 0.850),
    Case("ResNet-8 float, CIFAR-10", "classify", "pretrainedResnet.tflite", "cifar", 0.8719),
    Case("ResNet-8 int8, CIFAR-10", "classify", "pretrainedResnet_quant.tflite", "cifar", 0.8697),
)


def spec(samples: str) -> dict[str, Any]:
    """The `preprocess` table: pixels 0..255 as they are; MFCCs, kept as a gray picture of uint8, in their own unit."""
    table = {"kind": "image", "size": [32, 32], "channels": 3, "resize": "bilinear", "scale": 1.0, "layout": "NHWC"}
    if samples != "kws01":
        return {**table, "mean": [0.0] * 3, "std": [1.0] * 3, "input": "x"}
    return {**table, "size": [49, 10], "channels": 1, "mean": [128.0 + ZERO], "std": [1 / STEP], "input": "x"}


def opened(samples: str, root: Path, folder: Path) -> Dataset:
    """The test set through edgeft's npz format; the official sets are first written in its form."""
    if samples == "cifar":
        return data.open(Data(format="npz", path=str(root / "10_standard_images" / "cifar10_test10k_train5k.npz")))
    source = root / "09_mlperf_tiny" / f"{samples}_perf_{1000 if samples == 'kws01' else 200}.npz"
    with np.load(source, allow_pickle=False) as found:
        images = (found["x_int8"].astype(np.int16) + 128).astype(np.uint8) if samples == "kws01" else found["x"]
        labels = np.array(WORDS if samples == "kws01" else [str(i) for i in range(10)])
        np.savez(folder / f"{samples}.npz", test_images=images, test_labels=found["y"], labels=labels)
    return data.open(Data(format="npz", path=str(folder / f"{samples}.npz")))


def accuracy(case: Case, root: Path, folder: Path) -> tuple[float, int]:
    """What edgeft measures: (accuracy, number of samples)."""
    task, split = tasks.get(case.task), opened(case.samples, root, folder).split("test")
    session = litert.load(root / "09_mlperf_tiny" / "models" / case.model)
    (outputs,) = outputs_of([session], preprocessed(task, spec(case.samples), split))
    return task.score(outputs, split.targets), len(split)


def rebuilt(root: Path, out: Path) -> list[dict[str, Any]]:
    """The published ResNet-8 through edgeft's own quantization after training, on CIFAR-10's 10,000 test images."""
    import keras_resnet8

    import edgeft

    model = keras_resnet8.load(root / "09_mlperf_tiny" / "models" / "pretrainedResnet.h5")
    made = {
        "name": "mlperf-resnet8",
        "model": {"source": "module", "name": "resnet8"},
        "data": {
            "format": "npz",
            "path": str(root / "10_standard_images" / "cifar10_test10k_train5k.npz"),
            "size": 32,
            "mean": [0.0] * 3,
            "std": [1 / 255] * 3,  # pixels are divided by 255 first: the network takes 0..255
        },
        "train": {"epochs": 0},
        "quantize": {"method": "ptq"},
        "export": {"targets": list(common.TARGETS.values())},
        "gates": {"min_speedup": 0.0},
    }
    summary = edgeft.tune(made, out / "run", model=model, overwrite=True)
    reports = edgeft.export(
        out / "run", list(common.TARGETS.values()), out / "bundles", model=model, overwrite=True, say=print
    )
    rows = []

    for report in reports:
        gate = next(g for g in report["gates"] if g["name"] == "accuracy")
        rows.append(
            {
                "runtime": report["backend"],
                "verdict": report["verdict"],
                **{k: gate[k] for k in ("float", "quantized", "n")},
            }
        )

    return [{"runtime": "torch", "float": summary["float"], "quantized": summary["ptq"], "n": summary["n"]}, *rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for the rebuilt ResNet-8 (without it, that part is left out)")
    arguments = parser.parse_args()
    root, host = Path(os.environ["EDGEFT_DATA"]), common.machine()
    rows = []

    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            found, n = accuracy(case, root, Path(folder))
            rows.append({"name": case.name, "known": case.known, "found": found, "n": n})
            print(rows[-1], flush=True)

    lines = common.table(
        ("model and test set", "n", "known", "measured here", "the same"),
        [
            (
                r["name"],
                r["n"],
                f"{100 * r['known']:.2f}",
                f"{100 * r['found']:.2f}",
                common.mark(-abs(r["found"] - r["known"]), least=-5e-4),
            )
            for r in rows
        ],
    )
    again = rebuilt(root, arguments.out) if arguments.out else []
    used = common.versions("ai-edge-litert", "torch", "onnxruntime", "openvino", "litert-torch")
    section = f"## MLPerf Tiny\n\nThe published models, measured by edgeft; accuracy in per cent.\n\n{lines}"

    if again:
        section += (
            "\n\nResNet-8 rebuilt in torch from the published Keras weights, through edgeft's own post-training "
            "quantization (calibrated on training images; the published int8 model has 86.97):\n\n"
        ) + common.table(
            ("runtime", "n", "float", "int8"),
            [(r["runtime"], r["n"], f"{100 * r['float']:.2f}", f"{100 * r['quantized']:.2f}") for r in again],
        )

    section += f"\n\n{common.footing(host, used)}"
    common.publish("mlperf_tiny", section, {"machine": host, "versions": used, "rows": rows, "rebuilt": again})


if __name__ == "__main__":
    main()
