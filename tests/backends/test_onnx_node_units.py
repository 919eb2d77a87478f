"""Every quantized op between a DequantizeLinear and a QuantizeLinear of its own, and the same numbers as before."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from exporting import written
from quantize_nets import calibrated, seeded
from torch import nn

from edgeft.backends.onnxruntime import exporter
from edgeft.config import target
from edgeft.config.lowering import Lowering
from edgeft.quantize.lower import lower

BOARD = dataclasses.replace(target.load("rb3-gen2"), lowering=Lowering())
UNITS = target.load("rb3-gen2")
CONVERT = ("QuantizeLinear", "DequantizeLinear")


class Padded(nn.Module):
    """A Pad before a strided convolution, a residual that widens a clipped grid, pooling and a Squeeze."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.first(F.pad(x, (0, 1, 0, 1))))
        x = torch.cat([F.relu(self.second(x)), x - 1.0 * x.mean((2, 3), keepdim=True)], 1)[:, :8]
        return self.last(x.mean((2, 3)))


def models(net: nn.Module, folder: Path) -> tuple[onnx.ModelProto, onnx.ModelProto, np.ndarray]:
    """The net as ONNX Runtime takes it and in node units, and an input."""
    example = (seeded(2, 3, 16, 16),)
    graph = calibrated(net.eval(), example, UNITS.scheme)
    lowered = lower(graph, "int")
    files = []
    for number, profile in enumerate((BOARD, UNITS)):
        place = folder / str(number)
        place.mkdir()
        names = (["x"], list(graph.captured.output_names))
        artifact = written(exporter, lowered, example, *names, place, target=profile, dynamic_batch=False)
        files.append(onnx.load(str(place / artifact.file)))
    return files[0], files[1], example[0][:1].numpy()


def outputs(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """In ONNX Runtime as the file says, without its optimizations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def on_integers(model: onnx.ModelProto) -> list[str]:
    """The ops that read what a QuantizeLinear wrote, or write what a DequantizeLinear reads."""
    written_by = {name: node.op_type for node in model.graph.node for name in node.output}
    return [
        node.op_type
        for node in model.graph.node
        if node.op_type not in CONVERT and any(written_by.get(name) == "QuantizeLinear" for name in node.input)
    ]


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> tuple[onnx.ModelProto, onnx.ModelProto, np.ndarray]:
    torch.manual_seed(0)
    return models(Padded(), tmp_path_factory.mktemp("padded"))


def test_no_op_works_on_integers_and_the_numbers_stay(forms: tuple[onnx.ModelProto, onnx.ModelProto, np.ndarray]):
    before, after, x = forms
    assert on_integers(before) and not on_integers(after)
    first, second = (outputs(model, x) for model in (before, after))
    np.testing.assert_array_equal(first, second)


def test_a_pad_before_a_convolution_is_its_own(forms: tuple[onnx.ModelProto, onnx.ModelProto, np.ndarray]):
    before, after, _ = forms

    def ops(model: onnx.ModelProto) -> Sequence[str]:
        return [node.op_type for node in model.graph.node]

    assert "Pad" in ops(before) and "Pad" not in ops(after)
    convolution = next(node for node in after.graph.node if node.op_type == "Conv")
    pads = next(list(a.ints) for a in convolution.attribute if a.name == "pads")
    assert pads == [0, 0, 1, 1]


def test_other_targets_keep_their_form():
    forms = {name: target.load(name).lowering for name in target.names()}
    changed = {name for name, form in forms.items() if dataclasses.replace(form, most_padded_stride=0) != Lowering()}
    assert changed <= {"rb3-gen2", "rk3566", "rk3576", "rk3588"}
    padded_apart = {name for name, form in forms.items() if form.most_padded_stride}
    assert padded_apart == {"cortex-m55-ethos-u55", "cortex-m85-ethos-u85", "imx93"}, "those that Vela compiles for"
