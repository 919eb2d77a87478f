"""Quantization parameters that a model's file brings: ranges of values, and the grid that its weights lie on.

A model source that takes a quantized file back to float leaves the range of each quantized value in the metadata of its
graph (`RANGE`). Capturing rewrites that graph: layers are fused, axes turned, names lost. What a value holds stays the
same, so the values of both graphs are matched by moments of what they hold on a few samples. A value that equalization
or another factor has changed matches nothing, as it should: its range is calibrated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import fx, nn

from ..graph.nodes import attribute
from ..models.built import RANGE
from .fakequant import ActivationFakeQuant, WeightFakeQuant
from .graph import QuantizedGraph
from .ranges import Ranges, set_ranges

#: samples whose values are compared
SAMPLES = 4
#: largest difference of two moments of the same values, in units of their root mean square: other sums of float32
_CLOSE = 1e-4
#: how far a weight may be from its grid, in steps: what float32 leaves of an integer times a scale
_ON_GRID = 2e-3
#: fewest weights of a channel by which a grid is known: a few numbers are multiples of something by chance
_FEWEST = 8


@dataclass
class _Moments:
    """Size, ends and moments of the values that went through one place of a graph."""

    count: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    sums: np.ndarray = field(default_factory=lambda: np.zeros(4))

    def add(self, value: torch.Tensor) -> None:
        x = value.detach().double()
        self.count += x.numel()
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        self.sums += [float(x.sum()), float(x.abs().sum()), float((x**2).sum()), float((x**3).sum())]

    def same(self, other: _Moments) -> bool:
        """Whether both hold the same values, in any order."""
        if self.count != other.count or not self.count:
            return False
        unit = max(float(np.sqrt(self.sums[2] / self.count)), 1e-12)
        powers = np.array([unit, unit, unit**2, unit**3])
        close = np.abs(self.sums - other.sums) / self.count <= _CLOSE * powers
        ends = abs(self.low - other.low), abs(self.high - other.high)
        return bool(close.all()) and max(ends) <= 100 * _CLOSE * unit


class _Recorded(fx.Interpreter):
    """Runs a graph and takes the moments of the values of `places`."""

    def __init__(self, module: fx.GraphModule, places: Iterable[fx.Node]) -> None:
        super().__init__(module)
        self.moments = {node: _Moments() for node in places}

    def run_node(self, node: fx.Node) -> object:
        result = super().run_node(node)
        if node in self.moments and isinstance(result, torch.Tensor) and result.numel():
            self.moments[node].add(result)
        return result


def has_ranges(module: nn.Module) -> bool:
    """Whether the model came with ranges of its values."""
    return _source(module) is not None


def _source(module: nn.Module) -> fx.GraphModule | None:
    graphs = [part for part in module.modules() if isinstance(part, fx.GraphModule)]
    return next((part for part in graphs if any(RANGE in node.meta for node in part.graph.nodes)), None)


def take_over(module: nn.Module, graph: QuantizedGraph, samples: Sequence[tuple[torch.Tensor, ...]]) -> str:
    """Set the ranges and the grids of weights of `graph`, which is calibrated, to those of the model's file, where it
    has them; returns what came from the file, in words. See `matched` for the arguments."""
    on_grid = [name for name, fake in graph.weights().items() if put_on_grid(fake, attribute(graph.module, name))]
    ranges = matched(module, graph, samples)
    set_ranges(graph.module, ranges)
    free = [fake for fake in graph.activations().values() if not fake.fixed]

    return (
        f"the model's file is quantized already: of {len(free)} ranges of activations {len(ranges)} are those of the "
        f"file and {len(free) - len(ranges)} calibrated, and {len(on_grid)} of {len(graph.weights())} weights have the "
        "scales of the file (--set model.args.ranges=calibrate, or args.ranges in [model], calibrates all of them)"
    )


def matched(module: nn.Module, graph: QuantizedGraph, samples: Sequence[tuple[torch.Tensor, ...]]) -> Ranges:
    """{fake-quantize module of `graph`: (low, high)} of the values whose range `module`'s file has.

    `module` is the float model that `graph` was captured from, with the same weights; `samples` have one sample each.
    Several values may share a grid: it holds the ranges of all that the file knows, where the others lie within them.
    """
    source = _source(module)
    if source is None:
        return {}

    activations = graph.activations()
    places = {node: activations[str(node.target)] for node in _calls(graph.module, activations)}
    known = _Recorded(source, [node for node in source.graph.nodes if RANGE in node.meta])
    ours = _Recorded(graph.module, places)

    modes = {name: fake.mode for name, fake in graph.module.named_modules() if _is_fake(fake)}
    graph.set_mode("off")
    with torch.no_grad():
        for sample in samples:
            known.run(*sample)
            ours.run(*sample)
    for name, mode in modes.items():
        graph.module.get_submodule(name).mode = mode

    ranges: Ranges = {}
    for name, fake in activations.items():
        if not fake.fixed:
            values = [ours.moments[node] for node in places if str(node.target) == name]
            joined = _joined(values, known.moments)
            if joined is not None:
                ranges[name] = joined

    return ranges


def _is_fake(module: nn.Module) -> bool:
    return isinstance(module, (ActivationFakeQuant, WeightFakeQuant))


def _calls(module: fx.GraphModule, names: Iterable[str]) -> list[fx.Node]:
    known = set(names)
    return [node for node in module.graph.nodes if node.op == "call_module" and str(node.target) in known]


def _joined(values: Sequence[_Moments], known: Mapping[fx.Node, _Moments]) -> tuple[float, float] | None:
    """The range of a grid that `values` share; None where the file knows none of them, or another one goes beyond."""
    ranges: list[tuple[float, float]] = []
    ends: list[float] = []
    others = []
    for value in values:
        same = next((node.meta[RANGE] for node, moments in known.items() if value.same(moments)), None)
        if same is None:
            others.append(value)
        else:
            ranges.append(same)
            ends += [value.low, value.high]  # which the file may clip, and with them what a pool makes of them

    if not ranges:
        return None

    low, high = min(first for first, _ in ranges), max(last for _, last in ranges)
    least, most = min(low, *ends), max(high, *ends)
    return (low, high) if all(least <= value.low and value.high <= most for value in others) else None


def put_on_grid(fake: WeightFakeQuant, weight: torch.Tensor) -> bool:
    """Give a weight the scales of the grid that its values lie on already; False, and nothing changed, without one.

    Each channel's scale is its largest magnitude by the smallest integer that makes all its weights integers.
    """
    rows = fake._rows(weight).double().numpy(force=True)
    tops = np.abs(rows).max(1)
    if fake.numeric.kind != "int" or rows.shape[1] < _FEWEST or not (tops > 0).all():
        return False

    scales = np.zeros(len(rows))
    for largest in range(1, fake.q_max + 1):
        steps = rows / (tops / largest)[:, None]
        on_grid = np.abs(steps - np.rint(steps)).max(1) <= _ON_GRID
        scales = np.where((scales == 0) & on_grid, tops / largest, scales)

    if not (scales > 0).all():
        return False

    fake.set_scale(torch.from_numpy(scales).to(weight.device))
    return True
