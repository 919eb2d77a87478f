"""Cross-layer equalization: channels of very different size are brought near each other before they share a scale.

A ReLU, a pooling or an addition does to a channel of any size what it does to another. So the layers that write a
channel may be divided by a factor and those that read it multiplied with it (Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction", 2019): the float network stays the same function, and values of a
thousandth of the usual size no longer vanish in one step of the grid. Factors are powers of two, so that it stays the
same bit for bit.

Channels that an addition joins form one group with all their writers and readers (the stages of a ResNet). How large a
channel is comes from calibration samples rather than from the rows of the weights, which have a scale each. A group
whose values pass an op that is not homogeneous (a sigmoid, the ceiling of a ReLU6, a concatenation) stays as it is.
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
    """A layer whose weight has the group's channels along `axis`, each `repeat` times; `own` where every channel has
    kernels and scales of its own, so that its size costs nothing."""

    weight: str
    axis: int
    repeat: int = 1
    own: bool = False


@dataclass
class Group:
    """Channels that have one factor each: the weights (and biases) that write them, the layers that read them, and the
    quantized values that hold them by the names of their fake-quantize modules."""

    writers: list[tuple[str, str]] = field(default_factory=list)  # (weight, bias or ""); rows are axis 0
    readers: list[Reader] = field(default_factory=list)
    values: list[str] = field(default_factory=list)


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
        reads = Counter(str(n.target) for n in module.graph.nodes if n.op == "get_attr" for _ in n.users)
        self.shared = {name for name, count in reads.items() if count > 1}
        for node in module.graph.nodes:
            self._see(node)

    def groups(self, fakes: dict[str, WeightFakeQuant]) -> list[Group]:
        roots = {self._root(node) for node in self.fixed}
        by_root: dict[fx.Node, Group] = {}

        def group(node: fx.Node) -> Group:
            root = self._root(node)
            return Group() if root in roots else by_root.setdefault(root, Group())

        for node in self.layers:
            source, (weight, bias) = node.args[0], self._parameters(node)
            assert isinstance(source, fx.Node)
            own = _is_depthwise(node)
            scaled_each = own and weight in fakes and fakes[weight].axis == 0
            group(source).readers.append(
                Reader(weight, 0 if own else 1, self.repeat.get(source, 1), scaled_each or weight not in fakes)
            )
            group(node).writers.append((weight, bias))
        for node in self.parent:
            if node.op == "call_module" and isinstance(getattr(self.module, str(node.target)), ActivationFakeQuant):
                group(node).values.append(str(node.target))
        return list(by_root.values())

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
) -> dict[str, torch.Tensor]:
    """{fake-quantize module: largest magnitude of each channel, float32 (C,)} over all processes' `batches`."""
    tops: dict[str, torch.Tensor] = {}

    def note(name: str, value: torch.Tensor) -> None:
        rows = value.abs().transpose(0, 1).flatten(1).amax(1)
        # A flattened value has a channel several times; it adds nothing to what the value before it shows.
        if name not in tops or tops[name].shape == rows.shape:
            tops[name] = torch.maximum(tops[name], rows) if name in tops else rows

    watch(module, names, note, batches, enclosing)
    return {name: torch.from_numpy(reduced(top.numpy(force=True), "max")).to(top) for name, top in tops.items()}


def _factor(
    module: fx.GraphModule, fakes: dict[str, WeightFakeQuant], group: Group, tops: dict[str, torch.Tensor]
) -> torch.Tensor:
    """float32 (C,): what each channel of the group is divided by."""
    channels = attribute(module, group.writers[0][0]).shape[0]
    relative = [top / top.max().clamp(min=1e-12) for top in (tops[n] for n in group.values if n in tops)]
    relative = [top for top in relative if top.shape[0] == channels]
    for name, _ in group.writers:
        if name in fakes and fakes[name].axis is None:  # one scale for all rows
            rows = attribute(module, name).detach().abs().flatten(1).amax(1)
            relative.append(rows / rows.max().clamp(min=1e-12))
    if not relative:
        return torch.ones(channels)

    top = torch.stack(relative).amax(0)
    columns = [_columns(module, fakes[r.weight], r) for r in group.readers if not r.own]
    column = torch.stack(columns).amax(0) if columns else None
    usable = top > 0 if column is None else (top > 0) & (column > 0)
    if not usable.any():
        return torch.ones(channels)

    # The median is that of the channels that say something: in some networks most are silent.
    factor = torch.ones_like(top)
    factor[usable] = factors(top[usable], None if column is None else column[usable])
    return factor


def _columns(module: fx.GraphModule, fake: WeightFakeQuant, reader: Reader) -> torch.Tensor:
    """float32 (C,): the largest weight of each channel beside the largest one that shares its scale."""
    weight = attribute(module, reader.weight).detach().abs().float()
    rows = weight.flatten(1).amax(1) if fake.axis == 0 else weight.max().expand(weight.shape[0])
    beside = weight / rows.clamp(min=1e-12).view(-1, *[1] * (weight.dim() - 1))
    columns = beside.transpose(0, reader.axis).flatten(1).amax(1)
    return columns.view(-1, reader.repeat).amax(1)


def _fold(module: fx.GraphModule, group: Group, factor: torch.Tensor) -> None:
    """Divide the rows of the writers and multiply the columns of the readers, in place."""
    with torch.no_grad():
        for weight_name, bias_name in group.writers:
            weight = attribute(module, weight_name)
            weight.div_(factor.view(-1, *[1] * (weight.dim() - 1)))
            if bias_name:
                attribute(module, bias_name).div_(factor)
        for reader in group.readers:
            weight = attribute(module, reader.weight)
            along = factor.repeat_interleave(reader.repeat)
            weight.mul_(along.view([-1 if axis == reader.axis else 1 for axis in range(weight.dim())]))
