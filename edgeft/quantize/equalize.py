"""Cross-layer equalization: channels of very different size are brought near each other before they share a scale.

A ReLU, a pooling or an addition does to a channel of any size what it does to another. So the layers that write a
channel may be divided by a factor and those that read it multiplied with it (Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction", 2019): the float network stays the same function, and values of a
thousandth of the usual size no longer vanish in one step of the grid. Factors are powers of two, so that it stays the
same bit for bit.

Channels that an addition joins form one group with all their writers and readers (the stages of a ResNet). A
concatenation has the channels of its inputs one behind another: its readers have columns of several groups, each with a
factor of its own (DenseNet, Inception, the necks of detectors). How large a channel is comes from calibration samples
rather than from the rows of the weights, which have a scale each. A group whose values pass an op that is not
homogeneous (a sigmoid, the ceiling of a ReLU6) stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import fx, nn

from ..graph.nodes import CONV, LINEAR, aten, attribute
from .channels import Batches, factors, watch
from .fakequant import ActivationFakeQuant, WeightFakeQuant
from .graph import QuantizedGraph
from .ranges import reduced

#: a group of which no factor is further from 1 than this power of two stays as it is: one scale serves its channels
LEAST = 2
#: f(s x) = s f(x) for a positive s a channel, and the axis of the channels stays where it is
_HOMOGENEOUS = frozenset(
    {
        aten.relu.default,
        aten.relu_.default,
        aten.leaky_relu.default,
        aten.prelu.default,
        aten.max_pool2d.default,
        aten.avg_pool2d.default,
        aten.adaptive_avg_pool2d.default,
        aten.upsample_nearest2d.vec,
        aten.upsample_bilinear2d.vec,
        aten.dropout.default,
        aten.clone.default,
        aten.contiguous.default,
    }
)
_RESHAPES = frozenset({aten.flatten.using_ints, aten.view.default, aten.reshape.default})
_SPATIAL = ([2, 3], [-2, -1], [-1, -2], [3, 2])


@dataclass(frozen=True)
class Reader:
    """A layer whose weight has the group's channels along `axis`, from channel `start` on, each `repeat` times; `own`
    where every channel has kernels and scales of its own, so that its size costs nothing."""

    weight: str
    axis: int
    repeat: int = 1
    own: bool = False
    start: int = 0


@dataclass(frozen=True)
class Value:
    """Where the group's channels stand in a quantized value: from channel `start` of its `channels` on."""

    channels: int
    start: int = 0


@dataclass(frozen=True)
class Segment:
    """Channels of a value that have one root, from channel `start` on."""

    root: fx.Node
    start: int


@dataclass
class Group:
    """Channels that have one factor each: the weights (and biases) that write them, the layers that read them, and the
    quantized values that hold them, by the names of their fake-quantize modules."""

    writers: list[tuple[str, str]] = field(default_factory=list)  # (weight, bias or ""); rows are axis 0
    readers: list[Reader] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)


def planned(
    graph: QuantizedGraph, batches: Batches, enclosing: nn.Module | None = None
) -> list[tuple[Group, torch.Tensor]]:
    """The groups of `graph` whose channels differ much, and what each channel is to be divided by: float32 (C,).

    `batches()` gives the inputs of `enclosing`, or of the graph itself. The fake-quantize modules must be off.
    """
    candidates = groups(graph)
    if not candidates:
        return []

    tops = _tops(graph.module, {name for group in candidates for name in group.values}, batches, enclosing)
    fakes = graph.weights()
    factor_of = [(group, _factor(graph.module, fakes, group, tops)) for group in candidates]
    return [(group, factor) for group, factor in factor_of if factor.log2().abs().max() >= LEAST]


def fold(graph: QuantizedGraph, plan: Iterable[tuple[Group, torch.Tensor]]) -> None:
    """Divide the rows of each group's writers and multiply the columns of its readers, in place.

    Weights and activations are to be calibrated after it.
    """
    for group, factor in plan:
        _fold(graph.module, group, factor)


def groups(graph: QuantizedGraph) -> list[Group]:
    """The groups of a graph that may be scaled: with at least one writer, one reader and one quantized value."""
    return [
        group
        for group in _Tied(graph.module).groups(graph.weights())
        if group.writers and group.readers and group.values
    ]


class _Tied:
    """Which values of a graph share their channels' factors (union-find over its nodes), and which have none."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.module = module
        self.parent: dict[fx.Node, fx.Node] = {}
        self.fixed: set[fx.Node] = set()
        self.repeat: dict[fx.Node, int] = {}
        self.layers: list[fx.Node] = []
        self.joins: dict[fx.Node, list[fx.Node]] = {}  # concatenation -> its inputs
        reads = Counter(str(n.target) for n in module.graph.nodes if n.op == "get_attr" for _ in n.users)
        self.shared = {name for name, count in reads.items() if count > 1}
        for node in module.graph.nodes:
            self._see(node)

    def groups(self, fakes: dict[str, WeightFakeQuant]) -> list[Group]:
        fixed = self._fixed_roots()
        joins = {self._root(node): node for node in self.joins}
        by_root: dict[fx.Node, Group] = {}

        def parts(node: fx.Node) -> list[tuple[Group, Segment]]:
            free = [segment for segment in self._segments(node, joins) if segment.root not in fixed]
            return [(by_root.setdefault(segment.root, Group()), segment) for segment in free]

        for node in self.layers:
            source, (weight, bias) = node.args[0], self._parameters(node)
            assert isinstance(source, fx.Node)
            own = _is_depthwise(node)
            scaled_each = (own and weight in fakes and fakes[weight].axis == 0) or weight not in fakes
            repeat = self.repeat.get(source, 1)
            for group, segment in parts(source):
                group.readers.append(Reader(weight, 0 if own else 1, repeat, scaled_each, segment.start))
            for group, _ in parts(node):
                group.writers.append((weight, bias))

        for node in self.parent:
            if node.op == "call_module" and isinstance(getattr(self.module, str(node.target)), ActivationFakeQuant):
                self._note_value(node, parts(node))

        return list(by_root.values())

    def _note_value(self, node: fx.Node, parts: list[tuple[Group, Segment]]) -> None:
        """A module that quantizes a concatenation and its inputs alike is read at the one with most channels."""
        channels = node.meta["val"].shape[1] if parts else 0
        for group, segment in parts:
            known = group.values.get(str(node.target))
            if known is None or channels // self.repeat.get(node, 1) > known.channels:
                group.values[str(node.target)] = Value(channels // self.repeat.get(node, 1), segment.start)

    def _fixed_roots(self) -> set[fx.Node]:
        """Roots without a factor; a concatenation to which others' channels are added passes that on to its inputs."""
        fixed, roots = {self._root(node) for node in self.fixed}, Counter(self._root(node) for node in self.joins)
        fixed |= {root for root, count in roots.items() if count > 1}
        fixed |= {self._root(layer) for layer in self.layers} & set(roots)

        while True:
            reached = {
                self._root(source)
                for node, sources in self.joins.items()
                if self._root(node) in fixed
                for source in sources
            }
            if reached <= fixed:
                return fixed
            fixed |= reached

    def _segments(self, node: fx.Node, joins: dict[fx.Node, fx.Node]) -> list[Segment]:
        """The channels of a value by the roots that they have."""
        root = self._root(node)
        if root not in joins:
            return [Segment(root, 0)]

        segments, start = [], 0
        for source in self.joins[joins[root]]:
            for segment in self._segments(source, joins):
                segments.append(Segment(segment.root, start + segment.start))
            start += source.meta["val"].shape[1]

        return segments

    def _see(self, node: fx.Node) -> None:
        if node.op == "get_attr" or self._is_weight(node):
            return

        self.parent.setdefault(node, node)
        sources = [source for source in node.all_input_nodes if source in self.parent]
        if self._is_layer(node):
            self.layers.append(node)
        elif self._ties(node, sources):
            for source in sources:
                self.parent[self._root(source)] = self._root(node)
                self._carry_repeat(source, node)
        elif self._joins(node, sources):
            self.joins[node] = [source for source in node.args[0] if isinstance(source, fx.Node)]
        else:
            self.fixed.update([node, *sources])

    def _ties(self, node: fx.Node, sources: list[fx.Node]) -> bool:
        """Does the op leave every channel to itself and follow its size?"""
        if node.op == "call_module":
            return isinstance(getattr(self.module, str(node.target)), ActivationFakeQuant)
        if node.op != "call_function":
            return False

        values = [source.meta.get("val") for source in sources]
        if not values or not all(isinstance(value, torch.Tensor) for value in values):  # a size that is computed
            return False

        shapes = [value.shape for value in values if isinstance(value, torch.Tensor)]
        if node.target is aten.add.Tensor:
            plain = len(sources) == len(node.all_input_nodes) == 2 and not node.kwargs
            return plain and shapes[0] == shapes[1] and all(self.repeat.get(source, 1) == 1 for source in sources)
        if node.target is aten.mean.dim:
            return len(shapes[0]) == 4 and list(node.args[1]) in _SPATIAL

        if node.target in _RESHAPES:
            after = node.meta["val"].shape
            return len(shapes[0]) == 4 and len(after) == 2 and after[1] == shapes[0][1:].numel()
        if node.target is aten.constant_pad_nd.default:
            return len(shapes[0]) == 4 and len(node.args[1]) <= 4 and not any(node.args[2:])

        return node.target in _HOMOGENEOUS and (len(shapes[0]) == 4 or node.target in (aten.relu.default,))

    def _joins(self, node: fx.Node, sources: list[fx.Node]) -> bool:
        """Is it a concatenation of channels?"""
        if node.target is not aten.cat.default or len(sources) != len(node.all_input_nodes):
            return False
        axis = node.args[1] if len(node.args) > 1 else 0
        return axis in (1, -3) and all(len(source.meta["val"].shape) == 4 for source in sources)

    def _is_layer(self, node: fx.Node) -> bool:
        """Is it a convolution or linear layer whose weight nobody else reads, with channels along axis 1?"""
        if node.target not in (*CONV, *LINEAR) or len(node.meta["val"].shape) not in (2, 3, 4):
            return False
        if node.target in LINEAR and len(node.meta["val"].shape) != 2:
            return False
        if node.target is aten.convolution.default and node.args[6]:
            return False

        names = self._parameters(node)
        return (
            node.args[0] in self.parent
            and names[0] != ""
            and not self.shared & set(names)
            and (_is_depthwise(node) or _groups(node) == 1)
        )

    def _parameters(self, node: fx.Node) -> tuple[str, str]:
        """(weight, bias or ""); ("", "") where one of them is no plain parameter."""
        weight = node.args[1]
        bias = node.args[2] if len(node.args) > 2 else None
        if isinstance(weight, fx.Node) and self._is_weight(weight):
            weight = weight.all_input_nodes[0]
        if not isinstance(weight, fx.Node) or weight.op != "get_attr":
            return "", ""
        if bias is not None and not (isinstance(bias, fx.Node) and bias.op == "get_attr"):
            return "", ""

        return str(weight.target), str(bias.target) if isinstance(bias, fx.Node) else ""

    def _is_weight(self, node: fx.Node) -> bool:
        if node.op != "call_module" or not isinstance(getattr(self.module, str(node.target)), WeightFakeQuant):
            return False
        fake = getattr(self.module, str(node.target))
        return fake.row_factor is None and fake.column_factor is None

    def _carry_repeat(self, source: fx.Node, node: fx.Node) -> None:
        repeat = self.repeat.get(source, 1)
        if node.target in _RESHAPES:
            repeat = source.meta["val"].shape[2:].numel()
        self.repeat[node] = repeat

    def _root(self, node: fx.Node) -> fx.Node:
        while self.parent[node] is not node:
            self.parent[node] = node = self.parent[self.parent[node]]
        return node


def _groups(node: fx.Node) -> int:
    if node.target in LINEAR:
        return 1
    position = 8 if node.target is aten.convolution.default else 6
    return int(node.args[position]) if len(node.args) > position else 1


def _is_depthwise(node: fx.Node) -> bool:
    """A kernel of its own for each channel, which becomes one channel again."""
    weight = node.args[1].meta["val"].shape
    return _groups(node) > 1 and _groups(node) == weight[0] and weight[1] == 1


def _tops(
    module: fx.GraphModule, names: set[str], batches: Batches, enclosing: nn.Module | None
) -> dict[str, dict[int, torch.Tensor]]:
    """{fake-quantize module: {number of channels: largest magnitude of each, float32 (C,)}} over all `batches`.

    A module that several values share is called with each of them. All processes get the same.
    """
    tops: dict[str, dict[int, torch.Tensor]] = {}

    def note(name: str, value: torch.Tensor) -> None:
        rows = value.abs().transpose(0, 1).flatten(1).amax(1)
        known = tops.setdefault(name, {})
        known[len(rows)] = torch.maximum(known[len(rows)], rows) if len(rows) in known else rows

    watch(module, names, note, batches, enclosing)
    return {
        name: {n: torch.from_numpy(reduced(top.numpy(force=True), "max")).to(top) for n, top in sorted(known.items())}
        for name, known in sorted(tops.items())
    }


def _factor(
    module: fx.GraphModule, fakes: dict[str, WeightFakeQuant], group: Group, tops: dict[str, dict[int, torch.Tensor]]
) -> torch.Tensor:
    """float32 (C,): what each channel of the group is divided by."""
    channels = attribute(module, group.writers[0][0]).shape[0]
    relative = []
    for name, value in group.values.items():
        known = tops.get(name, {})
        if value.channels in known:
            largest = torch.stack([top.max() for top in known.values()]).max().clamp(min=1e-12)
            relative.append(known[value.channels][value.start : value.start + channels] / largest)

    for name, _ in group.writers:
        if name in fakes and fakes[name].axis is None:  # one scale for all rows
            rows = attribute(module, name).detach().abs().flatten(1).amax(1)
            relative.append(rows / rows.max().clamp(min=1e-12))

    if not relative:
        return torch.ones(channels)

    top = torch.stack(relative).amax(0)
    columns = [_columns(module, fakes[r.weight], r, channels) for r in group.readers if not r.own]
    column = torch.stack(columns).amax(0) if columns else None
    usable = top > 0 if column is None else (top > 0) & (column > 0)
    if not usable.any():
        return torch.ones(channels)

    # The median is that of the channels that say something: in some networks most are silent.
    factor = torch.ones_like(top)
    factor[usable] = factors(top[usable], None if column is None else column[usable])
    return factor


def _columns(module: fx.GraphModule, fake: WeightFakeQuant, reader: Reader, channels: int) -> torch.Tensor:
    """float32 (C,): the largest weight of each channel beside the largest one that shares its scale."""
    weight = attribute(module, reader.weight).detach().abs().float()
    rows = weight.flatten(1).amax(1) if fake.axis == 0 else weight.max().expand(weight.shape[0])
    beside = weight / rows.clamp(min=1e-12).view(-1, *[1] * (weight.dim() - 1))
    columns = beside.transpose(0, reader.axis).flatten(1).amax(1)
    return columns.view(-1, reader.repeat).amax(1)[reader.start : reader.start + channels]


def _fold(module: fx.GraphModule, group: Group, factor: torch.Tensor) -> None:
    """Divide the rows of the writers and multiply the columns of the readers, in place."""
    with torch.no_grad():
        for weight_name, bias_name in group.writers:
            weight = attribute(module, weight_name)
            weight.div_(factor.view(-1, *[1] * (weight.dim() - 1)))
            if bias_name:
                attribute(module, bias_name).div_(factor)
        for reader in group.readers:
            along = factor.repeat_interleave(reader.repeat)
            weight = attribute(module, reader.weight).narrow(reader.axis, reader.start * reader.repeat, len(along))
            weight.mul_(along.view([-1 if axis == reader.axis else 1 for axis in range(weight.dim())]))
