"""Reconstruction of the layers of a calibrated graph: rounding and biases that keep each layer's float outputs.

Layer by layer from the inputs on, what a layer reads in the quantized network so far is held against what it gives in
the float network (Nagel et al. 2020, section 3.3, "asymmetric"), so that a layer makes up for the rounding before it.
Where the layer has a bias of its own, that is free as well, which corrects the mean of each channel. The weights that
are left lie on the grid, so that rounding to the nearest gives the integers that were chosen.

Both networks are walked through once, node by node, over all samples; what no later node reads is let go.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import fx
from torch.nn import functional

from ..core.progress import counted
from ..graph.nodes import CONV, LINEAR, aten, attribute
from .fakequant import ActivationFakeQuant, WeightFakeQuant
from .graph import QuantizedGraph
from .ranges import reduced
from .rounding import Moments, rounded

#: weights of a row whose second moments are kept: 4096 take 134 MB
MOST_INPUTS = 4096
#: bytes of all values of both networks that are kept at once
MOST_BYTES = 2**30
#: positions of a layer's outputs that its moments are taken from
POSITIONS = 2**16
#: bytes of a layer's inputs, unfolded, that are multiplied at once
PIECE_BYTES = 2**25
Batch = tuple[torch.Tensor, ...]


def reconstruct(graph: QuantizedGraph, batches: Sequence[Batch]) -> int:
    """Choose the rounding of every integer weight and correct the biases, in place; returns how many layers it was.

    `batches` are inputs of `graph`, as many of which are taken as `MOST_BYTES` hold values of; with several processes
    their moments are exchanged. A weight that two layers share, and a row longer than `MOST_INPUTS`, stay as they are.
    """
    module = graph.module
    layers = _layers(module)
    taken = _that_fit(module, batches)

    with torch.no_grad():
        walk = _Walk(module, graph.set_mode, taken)
        for node in counted(list(module.graph.nodes)):
            if node in layers:
                walk.values(node, "off")
                _reconstruct_layer(module, node, walk)
                walk.again(node.args[1])
                walk.values(node, "quantize")
            else:
                walk.values(node, "off")
                walk.values(node, "quantize")
            walk.let_go(node)

    graph.set_mode("quantize")
    return len(layers)


class _Walk:
    """The values of both networks at the node that the walk has come to, for every batch."""

    def __init__(self, module: fx.GraphModule, set_mode: Callable[[str], None], batches: Sequence[Batch]) -> None:
        self.module, self.set_mode = module, set_mode
        self.batches = batches
        self.runs: dict[str, list[fx.Interpreter]] = {}

        for mode in ("off", "quantize"):
            self.runs[mode] = [fx.Interpreter(module) for _ in batches]
            for run, batch in zip(self.runs[mode], batches):
                run.env, run.args_iter = {}, iter(batch)

        self.last: dict[fx.Node, list[fx.Node]] = {}
        for node in module.graph.nodes:
            if node.op != "output":
                self.last.setdefault(max(node.users, default=node), []).append(node)

    def values(self, node: fx.Node, mode: str) -> None:
        """Compute the node in one of the networks."""
        if node.op == "output":
            return
        self._set_mode(node, mode)
        for run in self.runs[mode]:
            run.env[node] = run.run_node(node)

    def again(self, weight: Any) -> None:
        """Compute a weight's quantization anew, after the weight has changed."""
        self._set_mode(weight, "quantize")
        source = attribute(self.module, str(weight.all_input_nodes[0].target))
        value = self.module.get_submodule(str(weight.target))(source)
        for run in self.runs["quantize"]:
            run.env[weight] = value

    def let_go(self, node: fx.Node) -> None:
        for run in itertools.chain.from_iterable(self.runs.values()):
            for done in self.last.get(node, ()):
                run.env.pop(done, None)

    def _set_mode(self, node: fx.Node, mode: str) -> None:
        if node.op == "call_module":
            fake = self.module.get_submodule(str(node.target))
            if isinstance(fake, (ActivationFakeQuant, WeightFakeQuant)):
                fake.mode = mode


def _layers(module: fx.GraphModule) -> set[fx.Node]:
    """The layers whose rounding can be chosen: linear layers and convolutions with an integer weight of their own."""
    reads = Counter(str(n.target) for n in module.graph.nodes if n.op == "get_attr" for _ in n.users)
    layers = set()
    for node in module.graph.nodes:
        if node.target not in (*CONV, *LINEAR) or not isinstance(node.args[1], fx.Node):
            continue
        weight = node.args[1]
        fake = module.get_submodule(str(weight.target)) if weight.op == "call_module" else None
        if not isinstance(fake, WeightFakeQuant) or fake.numeric.kind != "int" or len(weight.users) > 1:
            continue
        source = weight.all_input_nodes[0]
        shape = node.args[1].meta["val"].shape
        plain = len(shape) in (2, 3, 4) and not (node.target is aten.convolution.default and node.args[6])
        if plain and reads[str(source.target)] == 1 and shape[1:].numel() <= MOST_INPUTS:
            layers.add(node)

    return layers


def _that_fit(module: fx.GraphModule, batches: Sequence[Batch]) -> list[Batch]:
    """The first batches whose values `MOST_BYTES` hold, at least one."""
    order = {node: index for index, node in enumerate(module.graph.nodes)}
    ends: dict[int, int] = {}
    alive = most = 0

    for node in module.graph.nodes:
        value = node.meta.get("val")
        if node.op != "get_attr" and isinstance(value, torch.Tensor):
            size = value.numel() * value.element_size() // max(1, int(value.shape[0]) if value.dim() else 1)
            end = max((order[user] for user in node.users), default=order[node])
            alive, ends[end] = alive + size, ends.get(end, 0) + size
        most = max(most, alive)
        alive -= ends.pop(order[node], 0)

    rows = max(1, MOST_BYTES // max(1, 2 * most))
    taken: list[Batch] = []
    for batch in batches:
        count = int(batch[0].shape[0])
        if taken and count > rows:
            break
        taken.append(batch)
        rows -= count

    return taken


def _reconstruct_layer(module: fx.GraphModule, node: fx.Node, walk: _Walk) -> None:
    """Choose the integers of one layer, and its bias, from its inputs in the quantized and outputs in the float one."""
    source, weight_node = node.args[0], node.args[1]
    bias_node = node.args[2] if len(node.args) > 2 else None
    fake = module.get_submodule(str(weight_node.target))
    assert isinstance(fake, WeightFakeQuant)
    name = str(weight_node.all_input_nodes[0].target)
    weight = attribute(module, name)
    bias = _own_bias(module, bias_node)
    groups = _groups(node)
    sums = _Sums(groups, weight.shape[0] // groups, weight[0].numel())

    generator = torch.Generator().manual_seed(0)
    share = min(1.0, POSITIONS / max(1, _positions(node, walk)))
    for quantized, floating in zip(walk.runs["quantize"], walk.runs["off"]):
        x, y = quantized.env[source], floating.env[node]
        if isinstance(bias_node, fx.Node):
            y = y - floating.env[bias_node].view(-1, *[1] * (y.dim() - 2 if node.target not in LINEAR else 0))
        for rows, outputs in _pieces(node, x, y, weight, groups):
            if share < 1:
                chosen = torch.rand(rows.shape[-1], generator=generator) < share
                rows, outputs = rows[..., chosen], outputs[..., chosen]
            sums.add(rows, outputs)

    mean_x, mean_y, moments = sums.moments(centred=bias is not None)
    scaled = fake.scaled(weight)
    shape = (groups, weight.shape[0] // groups, -1)
    steps = fake._along(fake.scale(), weight).expand_as(weight).reshape(shape)
    integers = rounded(scaled.reshape(shape), steps, fake.q_min, fake.q_max, moments)
    on_grid = integers * steps
    if bias is not None:
        bias.add_((mean_y - (on_grid @ mean_x[..., None])[..., 0]).flatten())

    new = on_grid.view(weight.shape)
    for factor in (fake.row_factor, fake.column_factor):
        new = new if factor is None else new / factor

    weight.copy_(new)


def _own_bias(module: fx.GraphModule, node: Any) -> torch.Tensor | None:
    """The bias of a layer where it is a parameter that nothing else reads."""
    if not isinstance(node, fx.Node) or node.op != "get_attr" or len(node.users) > 1:
        return None
    if sum(other.op == "get_attr" and other.target == node.target for other in module.graph.nodes) > 1:
        return None
    return attribute(module, str(node.target))


class _Sums:
    """Sums over samples and positions of the products of a layer's inputs and outputs."""

    def __init__(self, groups: int, rows: int, size: int) -> None:
        self.count = 0
        self.x, self.y = torch.zeros(groups, size), torch.zeros(groups, rows)
        self.xx, self.yx = torch.zeros(groups, size, size), torch.zeros(groups, rows, size)

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """`x` (G, K, positions), `y` (G, R, positions)."""
        self.count += x.shape[-1]
        self.x += x.sum(-1)
        self.y += y.sum(-1)
        self.xx += x @ x.transpose(1, 2)
        self.yx += y @ x.transpose(1, 2)

    def moments(self, centred: bool) -> tuple[torch.Tensor, torch.Tensor, Moments]:
        """(mean of x (G, K), mean of y (G, R), second moments), of all processes."""
        count = max(1.0, float(reduced([float(self.count)], "sum")[0]))
        x, y, xx, yx = (
            torch.from_numpy(reduced(total.double().numpy(), "sum")).float().div_(count)
            for total in (self.x, self.y, self.xx, self.yx)
        )

        if centred:
            xx -= x[:, :, None] * x[:, None, :]
            yx -= y[:, :, None] * x[:, None, :]

        return x, y, Moments(xx, yx)


def _groups(node: fx.Node) -> int:
    if node.target in LINEAR:
        return 1
    position = 8 if node.target is aten.convolution.default else 6
    return int(node.args[position]) if len(node.args) > position else 1


def _positions(node: fx.Node, walk: _Walk) -> int:
    """How many outputs of each channel the batches give."""
    values = [run.env[node] for run in walk.runs["off"]]
    axis = -1 if node.target in LINEAR else 1
    return sum(value.numel() // value.shape[axis] for value in values)


def _pieces(
    node: fx.Node, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, groups: int
) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """What each output is computed from, (G, K, positions), and the outputs (G, R, positions), some samples at once."""
    if node.target in LINEAR:
        yield x.reshape(1, -1, x.shape[-1]).transpose(1, 2), y.reshape(1, -1, y.shape[-1]).transpose(1, 2)
        return

    plane = weight.dim() - 2
    stride, padding, dilation = (
        _each(node.args[at] if len(node.args) > at else default, plane) for at, default in ((3, 1), (4, 0), (5, 1))
    )

    if plane == 1:
        x, y = x[:, :, None], y[:, :, None]
        stride, padding, dilation = ([1, *stride], [0, *padding], [1, *dilation])

    kernel = [*[1] * (2 - plane), *weight.shape[2:]]
    bytes_each = 4 * x.shape[1] * kernel[0] * kernel[1] * y.shape[2] * y.shape[3]
    some = max(1, PIECE_BYTES // max(1, bytes_each))

    for inputs, outputs in zip(x.split(some), y.split(some)):
        columns = functional.unfold(inputs, kernel, dilation, padding, stride)
        yield _by_group(columns, groups), _by_group(outputs.flatten(2), groups)


def _by_group(values: torch.Tensor, groups: int) -> torch.Tensor:
    """(N, C, positions) -> (G, C / G, N * positions)."""
    samples, channels, places = values.shape
    return values.view(samples, groups, channels // groups, places).permute(1, 2, 0, 3).flatten(2)


def _each(value: Any, count: int) -> list[int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return [int(v) for v in (values if len(values) == count else values * count)]
