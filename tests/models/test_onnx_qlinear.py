"""ONNX Runtime's integer operators (com.microsoft, format QOperator), imported as real numbers, against the runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeft.models.onnx import importer

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from onnx import helper, numpy_helper  # noqa: E402

#: scale and zero point of x, and of most answers
IN, OUT = (0.05, 120), (0.07, 128)
#: operator -> its attributes
OF_ONE = {
    "QLinearAveragePool": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "QLinearGlobalAveragePool": {"channels_last": 0},
    "QLinearLeakyRelu": {"alpha": 0.2},
    "QLinearSigmoid": {},
    "QLinearSoftmax": {"axis": 1, "opset": 13},
}
#: whose answers lie between 0 and 1
SMALL = {"QLinearSigmoid", "QLinearSoftmax"}
ROWS = np.random.default_rng(3).normal(size=(2, 3, 4, 4)).astype(np.float32) * 2


def grid(name: str, step: float, zero: int) -> list[Any]:
    return [
        numpy_helper.from_array(np.array(step, np.float32), f"{name}_scale"),
        numpy_helper.from_array(np.array(zero, np.uint8), f"{name}_zero"),
    ]


def run(folder: Path, nodes: list[Any], constants: list[Any], out: tuple[float, int]) -> tuple[np.ndarray, np.ndarray]:
    """What ONNX Runtime and the import answer for `ROWS`; x is quantized in front, and y dequantized behind `nodes`."""
    constants = [*grid("x", *IN), *grid("y", *out), *constants]
    front = helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["q"])
    behind = helper.make_node("DequantizeLinear", ["r", "y_scale", "y_zero"], ["y"])
    value = [helper.make_tensor_value_info("x", 1, ["batch", *ROWS.shape[1:]])]
    graph = helper.make_graph(
        [front, *nodes, behind], "g", value, [helper.make_tensor_value_info("y", 1, None)], constants
    )
    domains = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), path)

    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": ROWS})[0]
    loaded = importer.load(path)
    with torch.no_grad():
        result = loaded.module(torch.from_numpy(ROWS))

    return expected, (next(iter(result.values())) if isinstance(result, dict) else result).numpy()


@pytest.mark.parametrize("name", OF_ONE)
def test_an_operator_of_one_value(tmp_path: Path, name: str) -> None:
    out = (1 / 256, 0) if name in SMALL else OUT
    words = ["q", "x_scale", "x_zero", "y_scale", "y_zero"]
    node = helper.make_node(name, words, ["r"], domain="com.microsoft", **OF_ONE[name])
    expected, result = run(tmp_path, [node], [], out)
    # the runtime rounds its input to a step of IN, and its output to one of `out`; the import rounds neither
    assert result.shape == expected.shape and np.abs(expected - result).max() <= IN[0] / 2 + out[0] * 1.01


@pytest.mark.parametrize("name", ["QLinearAdd", "QLinearMul"])
def test_an_operator_of_two_values(tmp_path: Path, name: str) -> None:
    stored = np.random.default_rng(0).integers(100, 140, (1, 3, 1, 1), np.uint8)
    constants = [numpy_helper.from_array(stored, "a"), *grid("a", 0.05, 120)]
    words = ["q", "x_scale", "x_zero", "a", "a_scale", "a_zero", "y_scale", "y_zero"]
    expected, result = run(
        tmp_path, [helper.make_node(name, words, ["r"], domain="com.microsoft")], constants, (0.08, 128)
    )
    assert result.shape == expected.shape and np.abs(expected - result).max() <= 0.025 + 0.081


def test_a_concatenation(tmp_path: Path) -> None:
    words = ["y_scale", "y_zero", "q", "x_scale", "x_zero", "q", "x_scale", "x_zero"]
    node = helper.make_node("QLinearConcat", words, ["r"], domain="com.microsoft", axis=1)
    expected, result = run(tmp_path, [node], [], (0.08, 128))
    assert result.shape == expected.shape == (2, 6, 4, 4) and np.abs(expected - result).max() <= 0.025 + 0.081


@pytest.mark.parametrize("straight", [0, 1])
def test_a_matrix_product_with_scales_a_column(tmp_path: Path, straight: int) -> None:
    """Weights (48, 5), or (5, 48) with transB; a scale each of the five outputs, and an integer bias."""
    rng = np.random.default_rng(1)
    stored = rng.integers(-100, 100, (5, 48) if straight else (48, 5)).astype(np.int8)
    scales = np.array([0.001, 0.002, 0.003, 0.004, 0.005], np.float32)
    constants = [
        numpy_helper.from_array(stored, "w"),
        numpy_helper.from_array(scales, "w_scale"),
        numpy_helper.from_array(np.zeros(5, np.int8), "w_zero"),
        numpy_helper.from_array(rng.integers(-2000, 2000, 5).astype(np.int32), "bias"),
    ]
    words = ["flat", "x_scale", "x_zero", "w", "w_scale", "w_zero", "bias", "y_scale", "y_zero"]
    nodes = [
        helper.make_node("Flatten", ["q"], ["flat"], axis=1),
        helper.make_node("QGemm", words, ["r"], domain="com.microsoft", transB=straight),
    ]
    expected, result = run(tmp_path, nodes, constants, (0.1, 128))
    real = (stored.T if straight else stored).astype(np.float32) * scales
    reach = np.abs(real).sum(0).max() * IN[0] / 2
    assert result.shape == expected.shape == (2, 5) and np.abs(expected - result).max() <= reach + 0.101
    assert np.abs(expected - result).mean() < 0.2
