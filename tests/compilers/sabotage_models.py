"""A small quantized ONNX model that a compiler takes, and the same with one thing in it that it does not take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: the scale of every activation; its zero point is 128
SCALE = 0.02


def write(path: Path, sabotage: str = "") -> Path:
    """x (1, 3, 16, 16) -> Conv "body" -> Relu "act" -> y, each op between a DequantizeLinear and a QuantizeLinear.

    `sabotage`: "axis" (weights with a scale for each input channel), "det" (an op "det" that compilers do not have),
    "pad" (a Pad "border" of stored integers before the convolution).
    """
    rng, constants = np.random.default_rng(0), []

    def constant(name: str, value: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    axis = 1 if sabotage == "axis" else 0
    scales = np.full((8, 3)[axis], 0.01, np.float32)
    grid = [constant("scale", np.float32(SCALE)), constant("zero", np.uint8(128))]
    weights = [
        constant("weights", rng.integers(-127, 127, (8, 3, 3, 3)).astype(np.int8)),
        *(constant("weights_scale", scales), constant("weights_zero", np.zeros(len(scales), np.int8))),
    ]
    bias = [
        constant("bias", np.zeros(8, np.int32)),
        *(constant("bias_scale", np.full(8, 2e-4, np.float32)), constant("bias_zero", np.zeros(8, np.int32))),
    ]
    padded = sabotage == "pad"
    node = helper.make_node
    nodes = [node("QuantizeLinear", ["x", *grid], ["stored"], name="stored")]
    if padded:
        borders = constant("borders", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        nodes.append(node("Pad", ["stored", borders, constant("fill", np.uint8(128))], ["wide"], name="border"))

    nodes += [
        node("DequantizeLinear", ["wide" if padded else "stored", *grid], ["real"], name="real"),
        node("DequantizeLinear", weights, ["w"], name="w", axis=axis),
        node("DequantizeLinear", bias, ["b"], name="b", axis=0),
        node("Conv", ["real", "w", "b"], ["sums"], name="body", **({} if padded else {"pads": [1, 1, 1, 1]})),
        node("QuantizeLinear", ["sums", *grid], ["sums_q"], name="sums_q"),
        node("DequantizeLinear", ["sums_q", *grid], ["sums_dq"], name="sums_dq"),
        node("Relu", ["sums_dq"], ["act"], name="act"),
        node("QuantizeLinear", ["act", *grid], ["act_q"], name="act_q"),
        node("DequantizeLinear", ["act_q", *grid], ["y"], name="y"),
    ]
    shape: list[int] = [1, 8, 16, 16]
    if sabotage == "det":
        nodes.append(node("Det", ["y"], ["d"], name="det"))
        shape = [1, 8]

    ends = [("x", [1, 3, 16, 16]), (nodes[-1].output[0], shape)]
    inner, outer = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, size)] for name, size in ends)
    graph = helper.make_graph(nodes, "small", inner, outer, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


def vectors(path: Path) -> Path:
    """x (1, 8) -> Gemm "scores" -> y (1, 4), quantized: a model without an image."""
    rng, node = np.random.default_rng(0), helper.make_node
    values = {
        "scale": np.float32(SCALE),
        "zero": np.uint8(128),
        "weights": rng.integers(-9, 9, (4, 8)).astype(np.int8),
        "weights_scale": np.full(4, 0.05, np.float32),
        "weights_zero": np.zeros(4, np.int8),
    }
    grid = ["scale", "zero"]
    nodes = [
        node("QuantizeLinear", ["x", *grid], ["stored"], name="stored"),
        node("DequantizeLinear", ["stored", *grid], ["real"], name="real"),
        node("DequantizeLinear", ["weights", "weights_scale", "weights_zero"], ["w"], name="w", axis=0),
        node("Gemm", ["real", "w"], ["sums"], name="scores", transB=1),
        node("QuantizeLinear", ["sums", *grid], ["sums_q"], name="sums_q"),
        node("DequantizeLinear", ["sums_q", *grid], ["y"], name="y"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", [1, 8]), ("y", [1, 4]))
    ]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "vectors", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path
