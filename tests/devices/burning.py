"""Real models of a known slowness: the same convolutions once, or a number of times in a row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tiny_bundle

from edgeft.bundle import reader as bundle
from edgeft.core import files

LABELS = tiny_bundle.LABELS


def write_model(path: Path, layers: int, width: int = 32, size: int = 24) -> None:
    """8x8 gray pictures are resized to `size`, go through `layers` 3x3 convolutions of `width` channels, 3 logits."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    # not 1: some runtimes drop a pooling or a scaling that does nothing
    nodes = [
        helper.make_node("Resize", ["x", "", "", "sizes"], ["h0"], mode="nearest"),
        helper.make_node("Conv", ["h0", "w_in"], ["c0"], pads=[1, 1, 1, 1]),
    ]
    constants = {
        "sizes": np.array([1, 1, size, size], np.int64),
        "w_in": rng.normal(0, 0.3, (width, 1, 3, 3)).astype(np.float32),
        "w_out": rng.normal(0, 0.1, (3, width)).astype(np.float32),
    }
    for i in range(layers):
        constants[f"w{i}"] = rng.normal(0, 0.08, (width, width, 3, 3)).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [f"c{i}", f"w{i}"], [f"d{i}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"d{i}"], [f"c{i + 1}"]),
        ]
    nodes += [
        helper.make_node("GlobalAveragePool", [f"c{layers}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w_out"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "burning",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def build(parent: Path, layers: int, **changes: Any) -> Path:
    """An ONNX Runtime bundle of such a model at `parent/bundle`."""
    staging = parent / "staging"
    tiny_bundle.usable("onnxruntime")
    manifest = tiny_bundle.stage(staging, "onnxruntime")
    for name in ("model.onnx", "baseline/model.onnx"):
        write_model(staging / name, layers)
    bundle.write(staging, {**manifest, **changes})
    files.publish(staging, parent / "bundle")
    return parent / "bundle"


def copied(path: Path, to: Path) -> Path:
    return Path(shutil.copytree(path, to))


def manifest_of(path: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    return table
