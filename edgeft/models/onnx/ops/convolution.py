"""Convolutions, as layers of torch with the weights of the file."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..node import Node
from ..registry import operator
from ..values import Value

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_FUNCTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def paddings(
    node: Node, sizes: tuple[int, ...], kernel: list[int], strides: list[int], dilations: list[int]
) -> list[tuple[int, int]]:
    """(before, after) of each axis in space, from `pads` or `auto_pad`."""
    auto = node.attribute("auto_pad", "NOTSET")
    if auto == "VALID":
        return [(0, 0)] * len(kernel)

    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for size, side, stride, dilation in zip(sizes, kernel, strides, dilations):
            reach = (side - 1) * dilation + 1
            total = max(0, (-(-size // stride) - 1) * stride + reach - size)
            small, large = total // 2, total - total // 2
            pairs.append((small, large) if auto == "SAME_UPPER" else (large, small))
        return pairs

    pads = [int(pad) for pad in node.attribute("pads", [0] * (2 * len(kernel)))]
    if len(pads) != 2 * len(kernel):
        raise node.fail(f"has {len(pads)} pads for a kernel of {len(kernel)} axes")

    return list(zip(pads[: len(kernel)], pads[len(kernel) :]))


def padded(node: Node, value: Value, pairs: list[tuple[int, int]], fill: float = 0.0) -> Value:
    """`value` with its last axes padded by a constant."""
    flat = [number for pair in reversed(pairs) for number in pair]
    if not any(flat):
        return value
    return node.call(F.pad, value, flat, value=fill)  # type: ignore[no-any-return]


def of_kernel(node: Node, kernel: list[int]) -> tuple[list[int], list[int]]:
    """(strides, dilations) of a node."""
    strides = [int(number) for number in node.attribute("strides", [1] * len(kernel))]
    dilations = [int(number) for number in node.attribute("dilations", [1] * len(kernel))]
    return strides, dilations


@operator("Conv")
def conv(node: Node) -> Value:
    value, weight = node.input(0), node.input(1)
    kernel = list(weight.shape[2:])
    rank, groups = len(kernel), int(node.attribute("group", 1))
    if rank not in _CONV:
        raise node.fail(f"convolves over {rank} axes; 1, 2 and 3 are supported")
    if len(value.shape) != rank + 2 or value.shape[1] != weight.shape[1] * groups:
        raise node.fail(f"an input of the shape {value.shape} does not fit a weight of the shape {weight.shape}")

    strides, dilations = of_kernel(node, kernel)
    pairs = paddings(node, value.shape[2:], kernel, strides, dilations)
    bias = node.input(2) if node.has(2) else None
    even = all(before == after for before, after in pairs)
    if not even:
        value, pairs = padded(node, value, pairs), [(0, 0)] * rank

    padding = [before for before, _ in pairs]
    if not weight.constant or (bias is not None and not bias.constant):
        return node.call(_FUNCTIONS[rank], value, weight, bias, strides, padding, dilations, groups)  # type: ignore[no-any-return]

    layer = _CONV[rank](
        value.shape[1], weight.shape[0], tuple(kernel), tuple(strides), tuple(padding), tuple(dilations), groups,
        bias=bias is not None,
    )  # fmt: skip
    layer.weight.data = weight.tensor.clone()
    if bias is not None:
        layer.bias.data = bias.tensor.reshape(-1).clone()

    return node.trace.module(node.layer_name(weight), layer, value)  # type: ignore[no-any-return]


@operator("ConvTranspose")
def conv_transpose(node: Node) -> Value:
    value, weight = node.input(0), node.input(1)
    kernel = list(weight.shape[2:])
    rank, groups = len(kernel), int(node.attribute("group", 1))
    if rank not in _TRANSPOSED or not weight.constant or (node.has(2) and not node.input(2).constant):
        raise node.fail("is supported over 1, 2 or 3 axes with constant weights")

    strides, dilations = of_kernel(node, kernel)
    extra = [int(number) for number in node.attribute("output_padding", [0] * rank)]
    pairs = _transposed_paddings(node, value.shape[2:], kernel, strides, dilations, extra)

    padding = [min(pair) for pair in pairs]
    bias = node.input(2) if node.has(2) else None
    crop = [(before - least, after - least) for (before, after), least in zip(pairs, padding)]
    layer = _TRANSPOSED[rank](
        weight.shape[0], weight.shape[1] * groups, tuple(kernel), tuple(strides), tuple(padding), tuple(extra), groups,
        bias is not None, tuple(dilations),
    )  # fmt: skip
    layer.weight.data = weight.tensor.clone()
    if bias is not None:
        layer.bias.data = bias.tensor.reshape(-1).clone()

    result: Value = node.trace.module(node.layer_name(weight), layer, value)
    for axis, (before, after) in enumerate(crop, 2):
        if before or after:
            result = node.call(torch.narrow, result, axis, before, result.shape[axis] - before - after)

    return result


def _transposed_paddings(
    node: Node, sizes: tuple[int, ...], kernel: list[int], strides: list[int], dilations: list[int], extra: list[int]
) -> list[tuple[int, int]]:
    shape = node.attribute("output_shape")
    auto = node.attribute("auto_pad", "NOTSET")
    if shape is None and auto not in ("SAME_UPPER", "SAME_LOWER"):
        return paddings(node, sizes, kernel, strides, dilations)

    outputs = [size * stride for size, stride in zip(sizes, strides)] if shape is None else list(shape)[-len(kernel) :]
    pairs = []
    for size, output, side, stride, dilation, more in zip(sizes, outputs, kernel, strides, dilations, extra):
        total = stride * (size - 1) + more + (side - 1) * dilation + 1 - int(output)
        if total < 0:
            raise node.fail("its output shape is larger than what the convolution gives")
        small, large = total // 2, total - total // 2
        pairs.append((small, large) if auto == "SAME_UPPER" else (large, small))

    return pairs
