"""What all tools start from: the float model in each form, and the samples; and edgeft's own artifacts of it.

    python prepare.py NET FOLDER CALIBRATION TEST      writes the float forms and the samples

Run by `bench.py` in edgeft's environment, in a process a network.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nets
import numpy as np
from tools import FILES, timed

#: runtime -> the profile of this machine with it
TARGETS = {"onnxruntime": "host", "openvino": "host-openvino", "litert": "host-litert"}


def floats(name: str, folder: Path, calibration: int, test: int) -> None:
    """One torch module as float.onnx, float.xml, float.tflite and float.pt2, all of batch 1, and the samples."""
    import litert_torch
    import openvino
    import torch

    torch.set_num_threads(1)
    net, root = nets.NETS[name], nets.data_root()
    samples, module = net.samples(root, calibration, test), net.module(root)
    example = tuple(torch.from_numpy(value[:1]) for value in samples.calibration.values())
    names = list(samples.calibration)

    torch.onnx.export(
        module,
        example,
        str(folder / "float.onnx"),
        input_names=names,
        output_names=["y"],
        opset_version=17,
        dynamo=False,
    )
    openvino.save_model(openvino.convert_model(folder / "float.onnx"), folder / "float.xml", compress_to_fp16=False)
    torch.export.save(torch.export.export(module, example), folder / "float.pt2")
    litert_torch.convert(module, example).export(str(folder / "float.tflite"))

    _arrays(folder / "arrays", samples)
    np.save(folder / "labels.npy", samples.labels)
    np.savez(folder / "test.npz", **samples.test)
    np.savez(folder / "calibration.npz", **samples.calibration)


def _arrays(folder: Path, samples: nets.Samples) -> None:
    """The calibration samples as `edgeft export` takes them; its gates compare on a few of the test samples."""
    splits = {"train": samples.calibration, "val": _some(samples.test, 0, 16), "test": _some(samples.test, 16, 48)}
    for split, arrays in splits.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for i, row in enumerate(nets.rows(arrays)):
            np.savez(folder / split / f"{i:05d}.npz", **{key: value[0] for key, value in row.items()})


def _some(arrays: nets.Arrays, start: int, end: int) -> nets.Arrays:
    return {name: array[start:end] for name, array in arrays.items()}


def edgeft(net: Path, setting: str) -> dict[str, Any]:
    """`edgeft export float.onnx` for all runtimes in one command, verified there; `setting` is a preset, or "default"."""
    out = net / "edgeft" / setting
    record = out / "made.json"
    if record.is_file():
        return json.loads(record.read_text())

    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "edgeft", "export", str(net / "float.onnx"), "--data", str(net / "arrays")]
    command += ["--out", str(out / "bundles"), "--overwrite", "--set", "gates.min_speedup=0"]
    for target in TARGETS.values():
        command += ["--target", target]

    if setting != "default":
        command += ["--set", f"quantize.calibration={setting}"]

    # 1: a gate failed, 5: a measurement was too noisy; the bundles stand, and the bench measures them itself
    made = timed(command, out / "log.txt", accept=(0, 1, 5))
    reports = {
        name: json.loads((out / "bundles" / target / "report.json").read_text()) for name, target in TARGETS.items()
    }
    made["verdicts"] = {name: report["verdict"] for name, report in reports.items()}
    record.write_text(json.dumps(made))

    return made


def artifact(net: Path, tool: str, setting: str, runtime: str) -> Path:
    """Where a tool's artifact lies."""
    if tool == "float":
        return net / f"float{Path(FILES[runtime]).suffix}"
    folder = net / tool / setting
    return (folder / "bundles" / TARGETS[runtime] if tool == "edgeft" else folder) / FILES[runtime]


if __name__ == "__main__":
    floats(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
