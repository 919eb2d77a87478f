"""What a quantized graph computes, exactly: integers in, integer sums, one rounding at the end of each op.

An evaluation of a `QuantizedGraph` that shares no arithmetic with torch's fake-quantize or with any runtime. A value is
`count * scale`: `count` holds whole numbers (as float64, exact below 2^53), `scale` is exact too (the product of two
float32 fits float64). An op works on counts; where its result is put on a grid it is requantized as the runtimes do
it: round half to even of count * scale / step, plus the zero point, clipped. Biases are int32 in units of input step x
weight step. So an artifact that differs from this by more than one step has a fault; one step is rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx

from edgeft.graph.nodes import attribute
from edgeft.quantize.fakequant import ActivationFakeQuant, WeightFakeQuant
from edgeft.quantize.graph import QuantizedGraph

aten = torch.ops.aten


@dataclass(frozen=True)
class Exact:
    """The real value count * scale; `scale` broadcasts against `count`."""

    count: torch.Tensor
    scale: torch.Tensor

    @property
    def real(self) -> torch.Tensor:
        return self.count * self.scale


def real(value: torch.Tensor) -> Exact:
    return Exact(value.double(), torch.ones((), dtype=torch.float64))


def requantize(value: Exact, step: float, zero_point: int, low: int, high: int) -> Exact:
    """Round half to even onto the grid."""
    count = torch.round(value.count * (value.scale / step)) + zero_point
    return Exact(count.clamp(low, high) - zero_point, torch.tensor(step, dtype=torch.float64))


def _weighted(op: Callable[..., torch.Tensor], channel_axis: int) -> Callable[..., Exact]:
    def run(x: Exact, weight: Exact, bias: torch.Tensor | None = None, *rest: Any) -> Exact:
        unit = x.scale * weight.scale.reshape(-1)
        count = op(x.count, weight.count, None, *rest)
        assert float(count.abs().max()) < 2**31, "the runtimes sum in int32"
        shape = [1] * count.dim()
        shape[channel_axis] = -1
        if bias is not None:
            count = count + torch.round(bias.detach().double() / unit).view(shape)
        return Exact(count, unit.view(shape))

    return run


def _clamp(x: Exact, low: float = 0.0, high: float | None = None) -> Exact:
    count = torch.maximum(x.count, low / x.scale)
    return Exact(count if high is None else torch.minimum(count, high / x.scale), x.scale)


def _concat(values: Sequence[Exact], axis: int = 0) -> Exact:
    assert len({float(v.scale) for v in values}) == 1, "a concatenation only moves values"
    return Exact(torch.cat([v.count for v in values], axis), values[0].scale)


def _moves(op: Callable[..., torch.Tensor]) -> Callable[..., Exact]:
    """Ops on counts that keep the scale: they select or move values, or average them."""
    return lambda x, *rest: Exact(op(x.count, *rest), x.scale)


def _on_reals(op: Callable[..., torch.Tensor]) -> Callable[..., Exact]:
    return lambda *values: real(op(*[v.real for v in values]))


OPS: dict[object, Callable[..., Exact]] = {
    aten.conv2d.default: _weighted(F.conv2d, 1),
    aten.linear.default: _weighted(F.linear, -1),
    aten.relu.default: _clamp,
    aten.relu6.default: lambda x: _clamp(x, 0.0, 6.0),
    aten.hardtanh.default: _clamp,
    aten.add.Tensor: _on_reals(torch.add),
    aten.mul.Tensor: _on_reals(torch.mul),
    aten.sigmoid.default: _on_reals(torch.sigmoid),
    aten.cat.default: _concat,
    aten.max_pool2d.default: _moves(F.max_pool2d),
    aten.avg_pool2d.default: _moves(F.avg_pool2d),
    aten.mean.dim: _moves(torch.mean),
    aten.flatten.using_ints: _moves(torch.flatten),
    aten.reshape.default: _moves(torch.reshape),
}


def evaluate(graph: QuantizedGraph, feeds: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """The integers (int64, on each output's own grid) of every output; KeyError for an op without a meaning here."""
    values: dict[fx.Node, Any] = {}
    outputs: list[fx.Node] = []
    given = iter(feeds)
    for node in graph.module.graph.nodes:
        args = fx.map_arg(node.args, lambda n: values[n])
        if node.op == "placeholder":
            values[node] = real(next(given))
        elif node.op == "get_attr":
            values[node] = attribute(graph.module, str(node.target))
        elif node.op == "call_module":
            fake = getattr(graph.module, str(node.target))
            if isinstance(fake, WeightFakeQuant):
                values[node] = Exact(fake.integer(args[0]).double(), fake.scale().detach().double())
            else:
                assert isinstance(fake, ActivationFakeQuant)
                values[node] = requantize(args[0], *fake.parameters_of_grid(), fake.q_min, fake.q_max)
        elif node.op == "call_function":
            values[node] = OPS[node.target](*args, **node.kwargs)
        else:
            found = node.args[0]
            outputs = list(found) if isinstance(found, (tuple, list)) else [found]
    return [(values[n].count + z).numpy().astype(np.int64) for n, (_, z) in zip(outputs, output_grids(graph, outputs))]


def output_grids(graph: QuantizedGraph, outputs: Sequence[fx.Node] | None = None) -> list[tuple[float, int]]:
    """(step, zero point) of every output; each is quantized."""
    if outputs is None:
        (node,) = (n for n in graph.module.graph.nodes if n.op == "output")
        found = node.args[0]
        outputs = list(found) if isinstance(found, (tuple, list)) else [found]
    return [getattr(graph.module, str(n.target)).parameters_of_grid() for n in outputs]


def integers(values: np.ndarray, grid: tuple[float, int]) -> np.ndarray:
    """The integers that real outputs stand for; they must lie on the grid."""
    steps = np.asarray(values, np.float64) / grid[0]
    counts = np.rint(steps)
    assert np.abs(steps - counts).max() < 1e-2, "the output is not on its grid"
    return counts.astype(np.int64) + grid[1]
