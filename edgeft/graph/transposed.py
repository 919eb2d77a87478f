"""Transposed convolutions as what they compute: one small convolution for every phase of the stride, interleaved.

Output y of a transposed convolution with stride s gets only the weights whose index is y + padding modulo s. So the
weights fall into s x s kernels, one convolution has the phases as channels, and `pixel_shuffle` interleaves them (a
reshape, a permutation and a reshape where the strides of the axes differ, or where there is one axis)
(Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?", arXiv:1609.07009). The products are
those of the transposed convolution; every runtime and compiler has integer kernels for it, groups and output padding
included.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn

from .nodes import CONV_TRANSPOSE, aten, attribute, set_attribute

#: of one value: they may stand before the interleaving, where a runtime melts them into the convolution
_POINTWISE = (
    aten.relu.default, aten.relu6.default, aten.hardtanh.default, aten.clamp.default, aten.leaky_relu.default,
    aten.elu.default, aten.hardswish.default, aten.hardsigmoid.default, aten.silu.default, aten.gelu.default,
    aten.sigmoid.default, aten.tanh.default,
)  # fmt: skip


def to_convolutions(module: fx.GraphModule) -> None:
    """Rewrite those of one and two dimensions whose weights are constant and whose sizes are known."""
    uses = Counter(str(n.target) for n in module.graph.nodes if n.op == "get_attr" for _ in n.users)
    for node in list(module.graph.nodes):
        if node.target not in CONV_TRANSPOSE:
            continue

        constant = all(not isinstance(a, fx.Node) or a.op == "get_attr" for a in node.args[1:3])
        size = node.meta["val"].shape[2:]
        single = all(uses[str(a.target)] == 1 for a in node.args[1:3] if isinstance(a, fx.Node))
        whole = all(isinstance(side, int) for side in size)
        if constant and single and whole and node.meta["val"].dim() == len(size) + 2:
            _rewrite(module, node, _arguments(node))

    module.graph.eliminate_dead_code()


@dataclass(frozen=True)
class _Arguments:
    """Those of a transposed convolution, one number an axis; output padding shows in the output's size."""

    stride: list[int]
    padding: list[int]
    groups: int
    dilation: list[int]


def _arguments(node: fx.Node) -> _Arguments:
    axes = node.args[1].meta["val"].dim() - 2
    args = (*node.args, *(None, None, None, [1], [0], [0], 1, [1])[len(node.args) :])
    stride, padding, dilation = (list(value) * (axes // len(value)) for value in (args[3], args[4], args[7]))
    return _Arguments(stride, padding, int(args[6]), dilation)


def _rewrite(module: fx.GraphModule, node: fx.Node, args: _Arguments) -> None:
    graph, value, source, axes = module.graph, node.meta["val"], node.args[0], len(args.stride)
    weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    full = _without_dilation(attribute(module, str(weight.target)).detach(), args.dilation)
    kernels = _phases(full, args.stride, args.groups)
    windows = [
        _window(known, taps, *rest)
        for known, taps, *rest in zip(
            source.meta["val"].shape[2:], kernels.shape[2:], args.stride, args.padding, value.shape[2:]
        )
    ]
    _replace(module, weight, kernels)

    if isinstance(bias, fx.Node):
        phases = math.prod(args.stride)
        _replace(module, bias, attribute(module, str(bias.target)).detach().repeat_interleave(phases))

    margins, ones = [margin for margin, _, _ in windows], [1] * axes
    op = aten.conv1d.default if axes == 1 else aten.conv2d.default
    with graph.inserting_before(node):
        conv = graph.call_function(op, (source, weight, bias, ones, margins, ones, args.groups))

    conv.meta.update(node.meta)
    conv.meta["val"] = value.new_empty((value.shape[0], len(kernels), *(length for _, _, length in windows)))

    last, tail = node, conv
    reader = next(iter(node.users)) if len(node.users) == 1 else None
    if reader is not None and reader.target in _POINTWISE and reader.args[0] is node:
        reader.args = (conv, *reader.args[1:])
        reader.meta["val"] = conv.meta["val"]
        last = tail = reader

    readers = list(last.users)
    new = _cropped(graph, _interleaved(graph, tail, args.stride), [start for _, start, _ in windows], value)
    for user in readers:
        user.replace_input_with(last, new)

    graph.erase_node(node)


def _window(known: int, taps: int, stride: int, padding: int, size: int) -> tuple[int, int, int]:
    """Padding of the convolution, first of its interleaved outputs that is wanted, and its own length."""
    margin, start = taps - 1, padding
    while start >= stride and margin and start - stride + size <= stride * (known + 2 * margin - taps - 1):
        margin, start = margin - 1, start - stride
    while start + size > stride * (known + 2 * margin - taps + 1):  # the output is padded beyond the last input
        margin, start = margin + 1, start + stride

    return margin, start, known + 2 * margin - taps + 1


def _replace(module: fx.GraphModule, node: fx.Node, value: torch.Tensor) -> None:
    set_attribute(module, str(node.target), nn.Parameter(value))
    node.meta["val"] = value


def _interleaved(graph: fx.Graph, tail: fx.Node, stride: list[int]) -> fx.Node:
    """(N, C * phases, *lengths) -> (N, C, *lengths * stride)."""
    rows, channels, *lengths = tail.meta["val"].shape
    channels //= math.prod(stride)
    size = [length * s for length, s in zip(lengths, stride)]
    if math.prod(stride) == 1:
        return tail

    def after(node: fx.Node, op: object, argument: object, shape: list[int]) -> fx.Node:
        with graph.inserting_after(node):
            new = graph.call_function(op, (node, argument))
        new.meta.update(tail.meta)
        new.meta["val"] = tail.meta["val"].new_empty((rows, *shape))
        return new

    if len(stride) == 2 and stride[0] == stride[1]:
        return after(tail, aten.pixel_shuffle.default, stride[0], [channels, *size])

    several = [axis for axis, s in enumerate(stride) if s > 1]
    apart = [channels, *(stride[axis] for axis in several), *lengths]
    order = [0, 1]
    for axis in range(len(stride)):
        order += [2 + len(several) + axis, *([2 + several.index(axis)] if axis in several else [])]

    node = after(tail, aten.reshape.default, [-1, *apart], apart)
    node = after(node, aten.permute.default, order, [apart[axis - 1] for axis in order[1:]])
    return after(node, aten.reshape.default, [-1, channels, *size], [channels, *size])


def _cropped(graph: fx.Graph, node: fx.Node, starts: list[int], value: torch.Tensor) -> fx.Node:
    """The part of a value that has the shape of `value`, from `starts` on."""
    for axis, start in enumerate(starts, 2):
        before, size = node.meta["val"], value.shape[axis]
        if before.shape[axis] == size:
            continue

        with graph.inserting_after(node):
            part = graph.call_function(aten.slice.Tensor, (node, axis, start, start + size))
        part.meta.update(node.meta)
        part.meta["val"] = before.narrow(axis, start, size)
        node = part

    return node


def _without_dilation(weight: torch.Tensor, dilation: list[int]) -> torch.Tensor:
    """The kernel with zeros where a dilated one has no taps."""
    sides = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:])]
    filled = weight.new_zeros(*weight.shape[:2], *sides)
    filled[(slice(None), slice(None), *(slice(None, None, d) for d in dilation))] = weight
    return filled


def _phases(weight: torch.Tensor, stride: list[int], groups: int) -> torch.Tensor:
    """(in, out / groups, *kernel) -> (out * phases, in / groups, *taps), phases innermost."""
    axes = len(stride)
    taps = [-(-k // s) for k, s in zip(weight.shape[2:], stride)]
    missing = [(0, tap * s - k) for tap, s, k in zip(taps, stride, weight.shape[2:])]
    filled = F.pad(weight, [number for pair in reversed(missing) for number in pair])
    apart = filled.reshape(groups, -1, weight.shape[1], *(n for pair in zip(taps, stride) for n in pair))

    # group, out, phases, in, taps; a convolution reads its taps the other way round
    in_order = (0, 2, *range(4, 4 + 2 * axes, 2), 1, *range(3, 3 + 2 * axes, 2))
    kernels = apart.permute(in_order).flip([*range(-axes, 0)])
    return kernels.reshape(-1, weight.shape[0] // groups, *taps).contiguous()
