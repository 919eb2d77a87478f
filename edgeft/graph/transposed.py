"""Transposed convolutions as what they compute: one small convolution for every phase of the stride, interleaved.

Output y of a transposed convolution with stride s gets only the weights whose index is y + padding modulo s. So the
weights fall into s x s kernels, one convolution has the phases as channels, and `pixel_shuffle` interleaves them
(Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?", arXiv:1609.07009). The products are
those of the transposed convolution; every runtime and compiler has integer kernels for it, groups and output padding
included.
"""

from __future__ import annotations

from collections import Counter

import torch
import torch.nn.functional as F
from torch import fx, nn

from .nodes import aten, attribute, set_attribute

#: of one value: they may stand before the interleaving, where a runtime melts them into the convolution
_POINTWISE = (
    aten.relu.default, aten.relu6.default, aten.hardtanh.default, aten.clamp.default, aten.leaky_relu.default,
    aten.elu.default, aten.hardswish.default, aten.hardsigmoid.default, aten.silu.default, aten.gelu.default,
    aten.sigmoid.default, aten.tanh.default,
)  # fmt: skip


def to_convolutions(module: fx.GraphModule) -> None:
    """Rewrite two-dimensional ones with one stride for both axes; others keep their op."""
    uses = Counter(str(n.target) for n in module.graph.nodes if n.op == "get_attr" for _ in n.users)
    for node in list(module.graph.nodes):
        if node.target is not aten.conv_transpose2d.input:
            continue

        stride, padding, _, groups, dilation = _arguments(node)
        constant = all(not isinstance(a, fx.Node) or a.op == "get_attr" for a in node.args[1:3])
        size = node.meta["val"].shape[2:]
        single = all(uses[str(a.target)] == 1 for a in node.args[1:3] if isinstance(a, fx.Node))
        whole = all(isinstance(side, int) for side in size)
        if constant and single and whole and len(set(stride)) == 1:
            _rewrite(module, node, stride[0], padding, groups, dilation)

    module.graph.eliminate_dead_code()


def _arguments(node: fx.Node) -> tuple[list[int], list[int], list[int], int, list[int]]:
    """Stride, padding, output padding, groups, dilation."""
    args = (*node.args, *(None, None, None, [1, 1], [0, 0], [0, 0], 1, [1, 1])[len(node.args) :])
    pairs = [list(value) * (2 // len(value)) for value in (args[3], args[4], args[5], args[7])]
    return pairs[0], pairs[1], pairs[2], int(args[6]), pairs[3]


def _rewrite(
    module: fx.GraphModule, node: fx.Node, stride: int, padding: list[int], groups: int, dilation: list[int]
) -> None:
    graph, value, source = module.graph, node.meta["val"], node.args[0]
    weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    kernels = _phases(_without_dilation(attribute(module, str(weight.target)).detach(), dilation), stride, groups)
    windows = [
        _window(
            source.meta["val"].shape[2 + axis], kernels.shape[2 + axis], stride, padding[axis], value.shape[2 + axis]
        )
        for axis in (0, 1)
    ]
    _replace(module, weight, kernels)
    if isinstance(bias, fx.Node):
        _replace(module, bias, attribute(module, str(bias.target)).detach().repeat_interleave(stride * stride))

    margins = [margin for margin, _, _ in windows]
    with graph.inserting_before(node):
        conv = graph.call_function(aten.conv2d.default, (source, weight, bias, [1, 1], margins, [1, 1], groups))
    conv.meta.update(node.meta)
    conv.meta["val"] = value.new_empty((value.shape[0], len(kernels), *(length for _, _, length in windows)))

    last, tail = node, conv
    reader = next(iter(node.users)) if len(node.users) == 1 else None
    if reader is not None and reader.target in _POINTWISE and reader.args[0] is node:
        reader.args = (conv, *reader.args[1:])
        reader.meta["val"] = conv.meta["val"]
        last = tail = reader

    readers = list(last.users)
    new = _cropped(graph, _interleaved(graph, tail, stride), [start for _, start, _ in windows], value)
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


def _interleaved(graph: fx.Graph, tail: fx.Node, stride: int) -> fx.Node:
    if stride == 1:
        return tail

    with graph.inserting_after(tail):
        node = graph.call_function(aten.pixel_shuffle.default, (tail, stride))
    rows, channels, height, width = tail.meta["val"].shape
    node.meta.update(tail.meta)
    node.meta["val"] = tail.meta["val"].new_empty((rows, channels // stride**2, height * stride, width * stride))

    return node


def _cropped(graph: fx.Graph, node: fx.Node, starts: list[int], value: torch.Tensor) -> fx.Node:
    """The part of a value that has the shape of `value`, from `starts` on."""
    for axis, start in zip((2, 3), starts):
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
    filled[:, :, :: dilation[0], :: dilation[1]] = weight
    return filled


def _phases(weight: torch.Tensor, stride: int, groups: int) -> torch.Tensor:
    """(in, out / groups, kh, kw) -> (out * stride * stride, in / groups, kh', kw'), phases innermost."""
    taps = [-(-k // stride) for k in weight.shape[2:]]
    filled = F.pad(weight, (0, taps[1] * stride - weight.shape[3], 0, taps[0] * stride - weight.shape[2]))
    apart = filled.reshape(groups, -1, weight.shape[1], taps[0], stride, taps[1], stride)
    # group, out, phase, phase, in, tap, tap; a convolution reads its taps the other way round
    kernels = apart.permute(0, 2, 4, 6, 1, 3, 5).flip(-1, -2)
    return kernels.reshape(-1, weight.shape[0] // groups, *taps).contiguous()
