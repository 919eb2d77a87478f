"""A class token in float before quantized patches stays in float: the converter would round it to the patches' grid."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import written
from torch import nn

from edgeft.backends.litert import BACKEND, exporter, float_concats
from edgeft.config import target
from edgeft.quantize.graph import prepare
from edgeft.quantize.lower import lower
from edgeft.quantize.ranges import calibrate

HOST = target.load("host-litert")


class Patches(nn.Module):
    """Patches of a picture with small tokens before (and one behind) them, a norm in float, and a linear layer."""

    def __init__(self, *, behind: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(0.05 * torch.randn(1, 1, 16))
        self.registers = nn.Parameter(0.05 * torch.randn(1, 2, 16))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 10)
        self.behind = behind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.patches(x).flatten(2).transpose(1, 2)
        token, registers = (part.expand(len(x), -1, -1) for part in (self.token, self.registers))
        z = torch.cat([token, z, registers] if self.behind else [token, registers, z], 1)
        return self.head(self.norm(z)[:, 0])


class LinearAttention(nn.Module):
    """Values of hundreds with a column of ones, whose products with the keys are the denominator."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, 4)
        self.patches.weight.data[16:] *= 500
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        queries, keys, values = self.patches(x).flatten(2).transpose(1, 2).chunk(3, -1)
        values = nn.functional.pad(values, (0, 1), value=1.0)
        sums = queries.sigmoid() @ (keys.sigmoid().transpose(1, 2) @ values)
        return self.head((sums[..., :-1] / (sums[..., -1:] + 1e-5)).mean(1))


class HalfThroughALayer(nn.Module):
    """Half of the channels of a small float tensor through a layer with large outputs, and the other half beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.layer = nn.Conv2d(3, 16, 4, 4), nn.Conv2d(8, 8, 1)
        self.layer.weight.data *= 500
        self.first, self.second = nn.LayerNorm(16), nn.LayerNorm(8)
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.patches(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        first, second = x.chunk(2, 1)
        joined = torch.cat([self.layer(first), second], 1).flatten(2).transpose(1, 2)
        return self.head(self.second(joined[..., 8:]).mean(1))


@pytest.mark.parametrize(
    "net",
    [partial(Patches, behind=False), partial(Patches, behind=True), LinearAttention, HalfThroughALayer],
    ids=["before", "around", "ones", "computed"],
)
def test_the_artifact_computes_what_the_graph_computes(net: Callable[[], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    pictures = (torch.randn(32, 3, 16, 16),)
    graph = prepare(net().eval(), pictures, HOST.scheme)
    graph.calibrate_weights()
    calibrate(graph.module, lambda: iter([pictures]))
    lowered = lower(graph, "qdq")
    sample = (pictures[0][:1],)
    file = written(exporter, lowered, sample, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False).file

    session, expected = BACKEND.load(tmp_path / file, options=BACKEND.options()), graph.module(*pictures).detach()
    rows = [next(iter(session.run({"x": pictures[0][i : i + 1].numpy()}).values())) for i in range(8)]
    steps = np.abs(np.concatenate(rows) - expected[:8].numpy()) / graph.output_steps()["output"]
    assert steps.max() <= 1.01, "a constant was rounded to the grid of the other values"


def test_other_graphs_are_left_as_they_are() -> None:
    class Joined(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, x * 2], 1)

    example = (torch.ones(1, 2),)
    module = torch.export.export(Joined(), example).module()
    assert float_concats.as_sums(module, example) is module


def test_a_concatenation_with_constants_has_the_same_values_as_a_sum() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("left", torch.randn(1, 3, 2, 4))
            self.register_buffer("right", torch.randn(1, 3, 1, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.left, torch.relu(x), self.right], -2)

    example = (torch.randn(1, 3, 5, 4),)
    module = torch.export.export(Around(), example).module()
    changed = float_concats.as_sums(module, example)
    assert changed is not module and torch.equal(changed(*example), module(*example))
    assert not any(node.target is torch.ops.aten.cat.default for node in changed.graph.nodes)


@pytest.mark.parametrize("pads", [(0, 1), (1, 0, 2, 3), (-1, 2)], ids=str)
def test_a_pad_with_a_number_has_the_same_values_as_a_sum(pads: tuple[int, ...]) -> None:
    class Bordered(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.pad(x, pads, value=1.5)

    example = (torch.randn(1, 3, 5, 4),)
    module = torch.export.export(Bordered(), example).module()
    changed = float_concats.as_sums(module, example)
    assert changed is not module and torch.equal(changed(*example), module(*example))
    numbers = [n.args[2] for n in changed.graph.nodes if n.target is torch.ops.aten.constant_pad_nd.default]
    assert numbers == [0.0]


@pytest.mark.parametrize("options", [{}, {"value": 0.0}, {"mode": "reflect"}], ids=str)
def test_other_pads_are_left_as_they_are(options: dict[str, object]) -> None:
    class Bordered(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.pad(x, (1, 1, 1, 1), **options)

    example = (torch.randn(1, 3, 5, 4),)
    module = torch.export.export(Bordered(), example).module()
    assert float_concats.as_sums(module, example) is module


def test_the_pad_of_a_max_pooling_is_left_to_the_converter() -> None:
    """It becomes the pooling's own padding; as a sum it would be two operators that run at every call."""

    class Pooled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.max_pool2d(nn.functional.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, 2)

    example = (torch.randn(1, 3, 8, 8),)
    module = torch.export.export(Pooled(), example).module()
    assert float_concats.as_sums(module, example) is module
