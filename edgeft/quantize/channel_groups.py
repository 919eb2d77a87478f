"""Groups of channels that equalization may scale: which layers write and read them, and which values hold them.

Channels that an addition joins form one group with all their writers and readers (the stages of a ResNet). A
concatenation has the channels of its inputs one behind another: its readers have columns of several groups, each with a
factor of its own (DenseNet, Inception, the necks of detectors). A group whose values pass an op that is not homogeneous
(a sigmoid) stays as it is.

The ceiling of a ReLU6 would be another one in each channel: 6 / f where a channel is divided by f. But a value behind
a ReLU6 has a grid that ends at 6 or below, in calibration as in training (`ActivationFakeQuant.ceiling`). So as long as
no channel is made smaller (f <= 1), all these ceilings lie at or above the end of the grid, which clips first: the
quantized graph is that of the exact function for every input, with the plain ReLU6 that the runtimes fuse.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import fx

from ..graph.nodes import CONV, LINEAR, aten
from .fakequant import ActivationFakeQuant, WeightFakeQuant
from .graph import QuantizedGraph
from .rules import rule_of

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
    """Channels that have one factor each: the weights (and biases) that write them, the layers that read them, the
    quantized values that hold them, by the names of their fake-quantize modules, and of these values the ceiling that
    a ReLU6 gives them; with a ceiling no factor may be above 1."""

    writers: list[tuple[str, str]] = field(default_factory=list)  # (weight, bias or ""); rows are axis 0
    readers: list[Reader] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    ceilings: dict[str, float] = field(default_factory=dict)


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
            if self._grid(node) is not None:
                self._note_value(node, parts(node))

        return list(by_root.values())

    def _note_value(self, node: fx.Node, parts: list[tuple[Group, Segment]]) -> None:
        """A module that quantizes a concatenation and its inputs alike is read at the one with most channels."""
        channels = node.meta["val"].shape[1] if parts else 0
        for group, segment in parts:
            known = group.values.get(str(node.target))
            if known is None or channels // self.repeat.get(node, 1) > known.channels:
                group.values[str(node.target)] = Value(channels // self.repeat.get(node, 1), segment.start)

            ceiling = self._ceiling(node.all_input_nodes[0])
            if ceiling is not None:
                group.ceilings[str(node.target)] = min(ceiling, group.ceilings.get(str(node.target), ceiling))

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
            return self._grid(node) is not None
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

        clamped = node.target in (aten.relu.default,) or self._ceiling(node) is not None
        return clamped or (node.target in _HOMOGENEOUS and len(shapes[0]) == 4)

    def _grid(self, node: fx.Node) -> ActivationFakeQuant | None:
        """The module that quantizes a value."""
        module = getattr(self.module, str(node.target)) if node.op == "call_module" else None
        return module if isinstance(module, ActivationFakeQuant) else None

    def _ceiling(self, node: fx.Node) -> float | None:
        """The upper end of a clamp of which only grids are read that end there or below; None of every other op."""
        rule = rule_of(node)
        if rule is None or rule.kind != "fuse" or rule.ceiling is None or not node.users:
            return None

        tops = [None if grid is None else grid.ceiling for grid in map(self._grid, node.users)]
        return rule.ceiling if all(top is not None and top <= rule.ceiling for top in tops) else None

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
