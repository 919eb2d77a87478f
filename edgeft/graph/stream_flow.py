"""How time passes through a graph of convolutions: what each value holds of it when the input comes in chunks.

A chunk of `frames` of the input becomes a chunk of every value behind it. A convolution along time reads frames of
earlier chunks, and where it is padded on both sides it also waits for later ones: its output is delayed. Delays are
rounded up to whole chunks of the value, so that a chunk lies wholly before the stream's first frame or wholly behind
it. That is what makes the beginning exact: a state of frames before the first one is held at zero, the padding.

The past that a layer reads is kept as a state (kws_streaming, Rybakov et al. 2020, "Streaming keyword spotting on
mobile devices"); the way around a block of layers is delayed as the layers are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx

from ..core.errors import ModelError
from .nodes import aten, module_path

#: ops that compute each element by itself, of one tensor
_ALONE = (
    "relu", "relu_", "hardtanh", "hardtanh_", "clamp", "clamp_", "clamp_min", "sigmoid", "tanh", "hardswish",
    "hardsigmoid", "silu", "gelu", "leaky_relu", "elu", "neg", "abs", "exp", "log", "sqrt", "rsqrt", "square",
    "dropout", "contiguous", "clone", "alias", "to",
)  # fmt: skip
_TOGETHER = ("add", "add_", "sub", "mul", "mul_", "div", "maximum", "minimum", "cat")
_MOVING = ("transpose", "permute", "unsqueeze", "squeeze", "flatten")
_SIZED = ("view", "reshape", "_unsafe_view")
_CONV = (aten.conv1d.default, aten.conv2d.default)
REMEDY = "leave out export.stream, or take a network of convolutions along time (quartznet)"


@dataclass(frozen=True)
class Flow:
    """A value's share of time: its `axis`, the frames of a chunk and the frames by which it is delayed, which are whole
    chunks. `rate` is how many frames of the input one frame stands for; `before` the frames of zeros that a pad put in
    front of the first one and that no layer has read yet."""

    axis: int
    frames: int
    rate: int = 1
    delay: int = 0
    before: int = 0

    @property
    def chunks(self) -> int:
        """The delay in chunks."""
        return self.delay // self.frames


@dataclass(frozen=True)
class Reading:
    """What a layer reads of a value: `past` frames of earlier chunks, and `length` frames from there on."""

    past: int
    length: int


@dataclass
class StreamFlow:
    """The flows of a graph by node, and what layers read beyond the chunk, by (layer, value)."""

    chunk: int
    flows: dict[fx.Node, Flow] = field(default_factory=dict)
    readings: dict[tuple[fx.Node, fx.Node], Reading] = field(default_factory=dict)


class _Indivisible(Exception):
    """A chunk that is no whole number of a layer's frames."""

    def __init__(self, rate: int) -> None:
        super().__init__(rate)
        self.rate = rate


def stream_flow(module: fx.GraphModule, axis: int, chunk: int) -> StreamFlow:
    """The flow of time through a captured graph, quantized or float, whose only input has its frames on `axis`.

    `chunk` is the least number of frames of a chunk; more where the strides of the layers ask for it. Raises
    `ModelError` naming the first layer that has no streaming form.
    """
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise ModelError(f"takes {len(inputs)} inputs, and a stream has one", where="export.stream", remedy=REMEDY)

    while True:
        flow = StreamFlow(chunk, {inputs[0]: Flow(axis, chunk)})
        try:
            for node in module.graph.nodes:
                _pass_on(node, flow)
        except _Indivisible as error:
            chunk = -(-chunk // error.rate) * error.rate
        else:
            return flow


def _pass_on(node: fx.Node, flow: StreamFlow) -> None:
    """Enter the flow of a node whose inputs carry time."""
    if node.op == "placeholder":
        return
    sources = [source for source in node.all_input_nodes if source in flow.flows]
    if node.op == "output":
        _check_outputs(node, flow)
    elif node.op == "call_module" and sources:
        flow.flows[node] = flow.flows[sources[0]]
    elif sources:
        rule = _rule(node)
        if rule is None:
            raise refused(node, "its answer depends on all of its frames, or edgeft knows no streaming form of it")
        flow.flows[node] = rule(node, sources, flow)


def _check_outputs(node: fx.Node, flow: StreamFlow) -> None:
    values = node.args[0] if isinstance(node.args[0], (tuple, list)) else [node.args[0]]
    for value in values:
        if value not in flow.flows or flow.flows[value].before:
            raise ModelError("an output has no frames", where="export.stream", remedy=REMEDY)


def refused(node: fx.Node, why: str) -> ModelError:
    layer = module_path(node) or node.name
    kind = name_of(node) or str(node.target)
    return ModelError(f"{kind} of the layer {layer!r} cannot be streamed: {why}", where="export.stream", remedy=REMEDY)


def name_of(node: fx.Node) -> str:
    """The name of a node's ATen op without its overload, "" for anything else."""
    packet = getattr(node.target, "overloadpacket", None)
    return packet.__name__ if packet is not None else ""


Rule = Callable[[fx.Node, list[fx.Node], StreamFlow], Flow]


def _rule(node: fx.Node) -> Rule | None:
    name = name_of(node)
    groups: tuple[tuple[bool, Rule], ...] = (
        (node.target in _CONV, _convolution),
        (name in _ALONE, _same),
        (name in _TOGETHER, _joined),
        (name in _MOVING, _moved),
        (name in _SIZED, _resized),
        (name == "constant_pad_nd" or node.target is aten.pad.default, _padded),
        (node.target is aten.slice.Tensor, _cut),
        (name in ("mean", "softmax", "_softmax", "linear"), _across),
    )
    return next((rule for applies, rule in groups if applies), None)


def _same(node: fx.Node, sources: list[fx.Node], flow: StreamFlow) -> Flow:
    return flow.flows[sources[0]]


def shape(node: fx.Node) -> tuple[int, ...]:
    """The shape of a node's value; an axis of free size, the batch, counts as one."""
    return tuple(side if isinstance(side, int) else 1 for side in node.meta["val"].shape)


def _convolution(node: fx.Node, sources: list[fx.Node], flow: StreamFlow) -> Flow:
    """A window of `extent` frames every `stride` frames, which begins `padding` frames before the first one."""
    source = node.args[0]
    if sources != [source]:
        raise refused(node, "its weights depend on the input")
    before, spatial = flow.flows[source], flow.flows[source].axis - 2
    if spatial < 0:
        raise refused(node, "its channels are frames")

    kernel = _weight_shape(node)[2:]
    stride, padding, dilation = (_of_axis(node, place, default, spatial) for place, default in ((3, 1), (4, 0), (5, 1)))
    if before.frames % stride:
        raise _Indivisible(before.rate * stride)

    extent = (kernel[spatial] - 1) * dilation + 1
    padding += before.before
    frames = before.frames // stride
    needed = max(0, -(-(before.delay + extent - padding - stride) // stride))
    delay = -(-needed // frames) * frames
    past = stride * delay + padding - before.delay
    flow.readings[node, source] = Reading(past, (frames - 1) * stride + extent)

    return Flow(before.axis, frames, before.rate * stride, delay)


def _of_axis(node: fx.Node, place: int, default: int, spatial: int) -> int:
    values: Any = node.args[place] if len(node.args) > place else [default]
    values = values if isinstance(values, (list, tuple)) else [values]
    return int(values[spatial if len(values) > 1 else 0])


def _weight_shape(node: fx.Node) -> tuple[int, ...]:
    weight: Any = node.args[1]
    while weight.op == "call_module":
        weight = weight.args[0]
    value: Any = node.graph.owning_module
    for part in str(weight.target).split("."):
        value = getattr(value, part)
    return tuple(value.shape)


def _joined(node: fx.Node, sources: list[fx.Node], flow: StreamFlow) -> Flow:
    """Values element by element, or behind each other on another axis: all wait for the one that is delayed most."""
    flows = [flow.flows[source] for source in sources]
    if len({(f.axis - len(shape(s)), f.rate, f.before) for s, f in zip(sources, flows)}) > 1:
        raise refused(node, "its inputs have frames of different lengths")

    latest = max(flows, key=lambda each: each.delay)
    if name_of(node) == "cat" and _axis(node, 1) == latest.axis:
        raise refused(node, "it joins values in time")
    for constant in node.all_input_nodes:
        if constant not in flow.flows and _has_frames(constant, len(shape(node)) - latest.axis):
            raise refused(node, "it reads a constant for each frame")

    for source, each in zip(sources, flows):
        if each.delay < latest.delay:
            flow.readings[node, source] = Reading(latest.delay - each.delay, latest.frames)
    return replace(latest, axis=latest.axis + len(shape(node)) - len(shape(sources[flows.index(latest)])))


def _has_frames(constant: fx.Node, from_end: int) -> bool:
    value = constant.meta.get("val")
    if value is None and constant.op == "get_attr":
        value = constant.graph.owning_module
        for part in str(constant.target).split("."):
            value = getattr(value, part)
    sides = tuple(getattr(value, "shape", ()))
    return len(sides) >= from_end and sides[-from_end] != 1


def _moved(node: fx.Node, sources: list[fx.Node], flow: StreamFlow) -> Flow:
    """Ops that move axes: which one of the result grows with the frames?"""
    before = flow.flows[sources[0]]
    sides = list(shape(sources[0]))
    results = []
    for count in (5, 7):
        sides[before.axis] = count
        argument = torch.empty(sides, device="meta")
        results.append(node.target(argument, *node.args[1:], **node.kwargs).shape)

    axes = [i for i, pair in enumerate(zip(*results)) if pair[0] != pair[1]]
    if len(axes) != 1 or results[0][axes[0]] != 5:
        raise refused(node, "it mixes frames with another axis")
    return replace(before, axis=axes[0])


def _resized(node: fx.Node, sources: list[fx.Node], flow: StreamFlow) -> Flow:
    """A reshape that only adds or drops axes of size one; its sizes are rewritten with the frames of a chunk."""
    before = flow.flows[sources[0]]
    sides, result = shape(sources[0]), shape(node)
    if sides[0] != result[0] or [s for s in sides[1:] if s != 1] != [s for s in result[1:] if s != 1]:
        raise refused(node, "it mixes frames with another axis")
    if sides[before.axis] == 1:
        raise refused(node, "it has one frame")

    place = sum(side != 1 for side in sides[1 : before.axis])
    return replace(before, axis=[i for i, side in enumerate(result) if i and side != 1][place])


def _padded(node: fx.Node, sources: list[fx.Node], flow: StreamFlow) -> Flow:
    """Zeros in front of the first frame; those behind the last one are the stream's end, which it does not have."""
    before = flow.flows[sources[0]]
    place = 2 * (len(shape(node)) - 1 - before.axis)
    pads: Any = list(node.args[1])
    front = pads[place] if len(pads) > place else 0
    zeros = [mode for mode in node.args[2:] if mode not in (0, 0.0, "constant", None)]
    if front and (zeros or node.kwargs.get("value") or front < 0):
        raise refused(node, "it puts something other than zeros in front of the first frame")
    return replace(before, before=before.before + front)


def _cut(node: fx.Node, sources: list[fx.Node], flow: StreamFlow) -> Flow:
    """A slice of another axis, or one that leaves out frames at the end, which a stream does not have."""
    before = flow.flows[sources[0]]
    start = node.args[2] if len(node.args) > 2 else 0
    step = node.args[4] if len(node.args) > 4 else 1
    if _axis(node, 1) == before.axis and (start not in (0, None) or step != 1):
        raise refused(node, "it leaves out frames at the beginning")
    return before


def _across(node: fx.Node, sources: list[fx.Node], flow: StreamFlow) -> Flow:
    """Ops over other axes than time."""
    before = flow.flows[sources[0]]
    rank = len(shape(sources[0]))
    if name_of(node) == "linear":
        axes = [rank - 1]
    elif name_of(node) == "mean":
        axes = [axis % rank for axis in _listed(node.args[1] if len(node.args) > 1 else list(range(rank)))]
    else:
        axes = [axis % rank for axis in _listed(node.args[1])]

    if before.axis in axes or before.before:
        raise refused(node, "its answer depends on all frames")
    kept = name_of(node) != "mean" or (len(node.args) > 2 and bool(node.args[2]))
    return before if kept else replace(before, axis=before.axis - sum(axis < before.axis for axis in axes))


def _listed(axes: Any) -> list[int]:
    return list(axes) if isinstance(axes, (list, tuple)) else [axes]


def _axis(node: fx.Node, place: int) -> int:
    axis = node.args[place] if len(node.args) > place else node.kwargs.get("dim", 0)
    return int(axis) % len(shape(node))


def steps_of(flow: StreamFlow, graph: fx.Graph) -> Iterator[tuple[fx.Node, list[tuple[fx.Node, Reading]]]]:
    """Each value that is read beyond its chunk, in the graph's order, with its readers."""
    for node in graph.nodes:
        readers = [(reader, reading) for (reader, source), reading in flow.readings.items() if source is node]
        if readers:
            yield node, readers
