"""A sum that leaves 16 bits: `exact_options` give it on every CPU, the integer kernels only where they hold it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from runtime_artifacts import Graph

from edgeft import backends as runtime
from edgeft.config import target


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x (1, 64) in 0..255 times weights that are all 127 (scale 1/127): the sum of the inputs, 8 times over."""
    onnx = pytest.importorskip("onnx", reason="the model is written with onnx")
    graph = Graph()
    graph.activation("x", "x", 1.0, 0, np.uint8)
    graph.constant("w", np.full((64, 8), 127, np.int8))
    graph.constant("w_s", np.full(8, 1 / 127, np.float32))
    graph.constant("w_z", np.zeros(8, np.int8))
    graph.node("DequantizeLinear", ["w", "w_s", "w_z"], "w_dq", axis=1)
    graph.node("MatMul", ["x_dq", "w_dq"], "sum")
    out = graph.activation("sum", "sum", 64.0, 0, np.uint8)
    path = tmp_path_factory.mktemp("exact") / "model.onnx"
    onnx.save(graph.model({"x": [1, 64]}, {out: [1, 8]}), str(path))
    return path


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_exact_options_leave_out_what_saturates(model: Path, name: str) -> None:
    pytest.importorskip(name)
    backend = runtime.get(name)
    x = np.full((1, 64), 255, np.float32)
    wanted = np.full((1, 8), 64 * 255, np.float32)
    (exact,) = backend.load(model, options={**backend.options(), **backend.exact_options()}).run({"x": x}).values()
    assert np.array_equal(exact, wanted)
    if target.saturates():
        (usual,) = backend.load(model).run({"x": x}).values()
        assert usual.max() < 0.6 * wanted.max(), "this CPU was said to saturate: pairs of products end at 32767"


def test_litert_needs_none() -> None:
    assert runtime.get("litert").exact_options() == {}
