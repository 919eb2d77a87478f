"""Graphs that OpenVINO refuses or computes wrongly unless their ONNX form is rewritten first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from exporting import written
from torch import nn

from edgeft.backends.openvino import BACKEND, exporter, onnx_passes
from edgeft.config import target
from edgeft.quantize.graph import prepare
from edgeft.quantize.lower import lower
from edgeft.quantize.ranges import calibrate

HOST = target.load("host-openvino")


class LayerScale(nn.Module):
    """A block as ConvNeXt has it: what two linear layers compute, times a learned factor a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.norm, self.wide, self.back = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)
        self.gamma = nn.Parameter(0.3 * torch.randn(16))
        self.deep, self.head = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.back(F.gelu(self.wide(self.norm(x.permute(0, 2, 3, 1))))) * self.gamma
        return self.head(self.deep(x + y.permute(0, 3, 1, 2)).mean((2, 3)))


class OutlierTokens(nn.Module):
    """A mixer (Tolstikhin et al. 2021) whose channels differ so much that some get a factor, and the mean of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 4, 4)
        self.first, self.second = nn.LayerNorm(32), nn.LayerNorm(32)
        self.tokens = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 64))
        self.wide, self.back = nn.Linear(32, 64), nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)
        with torch.no_grad():
            self.back.weight[1::3] *= 16

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.patches(x).flatten(2).mT
        z = z + self.tokens(self.first(z).mT).mT
        z = z + self.back(F.gelu(self.wide(self.second(z))))
        return self.head(z.mean(1))


@pytest.mark.parametrize("net", [LayerScale, OutlierTokens])
def test_the_artifact_computes_what_the_graph_computes(net: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    images = (torch.randn(32, 3, 32, 32),)
    graph = prepare(net().eval(), images, HOST.scheme)
    graph.calibrate_weights()
    graph.spread_channels(lambda: iter([images]))
    calibrate(graph.module, lambda: iter([images]))
    sample = (images[0][:1],)
    file = written(exporter, lower(graph, "int"), sample, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False).file

    session = BACKEND.load(tmp_path / file, options=BACKEND.options())
    outputs = np.concatenate([session.run({"x": images[0][i : i + 1].numpy()})["y"] for i in range(8)])
    steps = np.abs(outputs - graph.module(images[0][:8]).detach().numpy()) / max(graph.output_steps().values())
    assert np.median(steps) <= 1.01 and steps.max() <= 4, steps


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax"])
def test_a_reduction_to_channels_is_parted_from_what_follows(op: str, keep: int) -> None:
    model = reduction(op, (2, 5, 4, 3), [1, 2], keep)
    before = evaluated(model)
    assert onnx_passes.reductions_with_reshape(model) == 1
    assert [node.op_type for node in model.graph.node] == [op, "Reshape"]
    np.testing.assert_array_equal(evaluated(model), before)


@pytest.mark.parametrize("shape, axes", [((2, 3, 4, 4), [2, 3]), ((2, 3, 8), [2]), ((2, 8), [1])])
def test_other_reductions_are_left_as_they_are(shape: tuple[int, ...], axes: list[int]) -> None:
    assert onnx_passes.reductions_with_reshape(reduction("ReduceMean", shape, axes, 0)) == 0


def reduction(op: str, shape: tuple[int, ...], axes: list[int], keep: int) -> onnx.ModelProto:
    make = onnx.helper
    x, y = (make.make_tensor_value_info(name, 1, dims) for name, dims in (("x", shape), ("y", None)))
    constant = onnx.numpy_helper.from_array(np.array(axes, np.int64), "axes")
    graph = make.make_graph([make.make_node(op, ["x", "axes"], ["y"], keepdims=keep)], "g", [x], [y], [constant])
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=9)


def evaluated(model: onnx.ModelProto) -> np.ndarray:
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    feed = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result: np.ndarray = onnx.reference.ReferenceEvaluator(model).run(None, {"x": feed})[0]
    return result
