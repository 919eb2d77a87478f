"""Ranges and grids of a file that ONNX Runtime quantized: found again in the captured graph, and equal to the file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeft.config import target
from edgeft.config.recipe import Model
from edgeft.models import ModelRequest, build
from edgeft.quantize import file_ranges
from edgeft.quantize.parts import MAIN, calibrate_parts, capture_parts, insert_parts

pytest.importorskip("onnx", reason="onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnxruntime.quantization", reason="onnxruntime's quantizer is not installed")


class Branches(nn.Module):
    """A norm to fold, a depthwise layer, a sum, a pool, a leaky branch and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.deep, self.point = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 16, 1)
        self.side, self.head = nn.Conv2d(16, 16, 1), nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = F.max_pool2d(x + self.point(F.relu6(self.deep(x))), 2)
        return self.head(torch.cat([x, F.leaky_relu(self.side(x))], 1).mean((2, 3)))


def _quantized(folder: Path, layout: str, kind: str, per_channel: bool) -> Path:
    from onnxruntime import quantization as tool

    rng = np.random.default_rng(0)
    pictures = iter([{"x": rng.random((4, 3, 16, 16), dtype=np.float32)} for _ in range(4)])

    class Reader(tool.CalibrationDataReader):
        def get_next(self):
            return next(pictures, None)

    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Branches().eval(), (torch.rand(1, 3, 16, 16),), str(folder / "float.onnx"), dynamo=False, opset_version=13,
            input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "batch"}},
        )  # fmt: skip
        tool.quantize_static(
            folder / "float.onnx", folder / "q.onnx", Reader(), quant_format=tool.QuantFormat[layout],
            activation_type=tool.QuantType[kind], weight_type=tool.QuantType.QInt8, per_channel=per_channel,
        )  # fmt: skip
    logging.disable(logging.NOTSET)
    return folder / "q.onnx"


@pytest.mark.parametrize(
    ("layout", "kind", "per_channel"),
    [("QDQ", "QInt8", True), ("QDQ", "QUInt8", False), ("QOperator", "QUInt8", True), ("QOperator", "QInt8", False)],
)
def test_all_ranges_and_weights_are_those_of_the_file(layout, kind, per_channel, tmp_path):
    path = _quantized(tmp_path, layout, kind, per_channel)
    built = build(ModelRequest(Model("onnx", str(path)), "classify", 5))
    captured = capture_parts(built.module, (torch.rand(2, 3, 16, 16),))
    scheme = target.load("intel-nuc").scheme
    graph = insert_parts(captured, scheme)
    rng = np.random.default_rng(1)
    samples = [(torch.from_numpy(rng.random((1, 3, 16, 16), dtype=np.float32)),) for _ in range(4)]
    graph.calibrate_weights("mse")
    calibrate_parts(graph, lambda: [(5 * samples[0][0],)], estimator="minmax", percentile=100)  # unlike the file's

    said = file_ranges.take_over(built.module, graph.graphs[MAIN], samples)
    assert "of 9 ranges of activations 9 are those of the file" in said and "5 of 5 weights" in said

    x = rng.random((16, 3, 16, 16), dtype=np.float32)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    if kind == "QUInt8":  # whose sums with weights of 8 bits saturate on CPUs without VNNI
        options.add_session_config_entry("session.x64quantprecision", "1")
    (expected,) = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    with torch.no_grad():
        outputs = graph.module(torch.from_numpy(x)).numpy()
    (step,) = graph.graphs[MAIN].output_steps().values()
    assert np.abs(outputs - expected).max() <= 2.01 * step
    assert (np.abs(outputs - expected) < step / 2).mean() > 0.6, "calibrated on other pictures no output is equal"


def test_a_value_that_was_changed_finds_no_range(tmp_path):
    path = _quantized(tmp_path, "QDQ", "QUInt8", True)
    built = build(ModelRequest(Model("onnx", str(path)), "classify", 5))
    captured = capture_parts(built.module, (torch.rand(2, 3, 16, 16),))
    graph = insert_parts(captured, target.load("intel-nuc").scheme)
    sample = [(torch.rand(1, 3, 16, 16),)]
    assert len(file_ranges.matched(built.module, graph.graphs[MAIN], sample)) == 9

    with torch.no_grad():
        next(layer for layer in built.module.modules() if isinstance(layer, nn.Linear)).weight.mul_(1.01)
    assert len(file_ranges.matched(built.module, graph.graphs[MAIN], sample)) == 8

    calibrated = build(ModelRequest(Model("onnx", str(path), args={"ranges": "calibrate"}), "classify", 5))
    assert file_ranges.has_ranges(built.module) and not file_ranges.has_ranges(calibrated.module)


def test_weights_are_put_on_the_grid_that_they_lie_on_alone():
    graph = insert_parts(capture_parts(Branches().eval(), (torch.rand(2, 3, 16, 16),)), target.load("intel-nuc").scheme)
    fake = graph.weights()["side.weight"]
    before = fake.scale().clone()
    assert not file_ranges.put_on_grid(fake, torch.randn(16, 16, 1, 1)) and torch.equal(before, fake.scale())

    scales = torch.rand(16, 1, 1, 1) + 0.1
    integers = torch.randint(-90, 91, (16, 16, 1, 1))
    assert file_ranges.put_on_grid(fake, integers * scales)
    assert torch.equal(fake.integer(integers * scales).float() * fake.scale().reshape(-1, 1, 1, 1) != 0, integers != 0)
    assert torch.allclose(fake.integer(integers * scales) * fake.scale().reshape(-1, 1, 1, 1), integers * scales)
