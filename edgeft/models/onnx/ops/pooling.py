"""Pools."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..node import Node
from ..registry import operator
from ..values import Value
from .convolution import of_kernel, padded, paddings

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@operator("MaxPool", "AveragePool")
def pool(node: Node) -> Value:
    value = node.input()
    kernel = [int(side) for side in node.attribute("kernel_shape", [])]
    rank = len(kernel)
    if rank not in _MAX or len(value.shape) != rank + 2:
        raise node.fail(f"a kernel of {rank} axes does not fit an input of the shape {value.shape}")
    if node.outputs[1:] and node.outputs[1]:
        raise node.fail("hands out the positions of the maxima, which is not supported")

    strides, dilations = of_kernel(node, kernel)
    pairs = paddings(node, value.shape[2:], kernel, strides, dilations)
    ceiling = bool(node.attribute("ceil_mode", 0))
    if node.op == "MaxPool":
        return _maximum(node, value, kernel, strides, dilations, pairs, ceiling)

    return _average(node, value, kernel, strides, dilations, pairs, ceiling)


def _maximum(
    node: Node, value: Value, kernel: list[int], strides: list[int], dilations: list[int],
    pairs: list[tuple[int, int]], ceiling: bool,
) -> Value:  # fmt: skip
    even = all(before == after and before * 2 <= side for (before, after), side in zip(pairs, kernel))
    if not even:
        value, pairs = padded(node, value, pairs, float("-inf")), [(0, 0)] * len(kernel)
    padding = [before for before, _ in pairs]
    return node.call(_MAX[len(kernel)], value, kernel, strides, padding, dilations, ceiling)  # type: ignore[no-any-return]


def _average(
    node: Node, value: Value, kernel: list[int], strides: list[int], dilations: list[int],
    pairs: list[tuple[int, int]], ceiling: bool,
) -> Value:  # fmt: skip
    if any(dilation > 1 for dilation in dilations):
        raise node.fail("an average pool with dilations is not supported")

    counted = bool(node.attribute("count_include_pad", 0))
    even = all(before == after and before * 2 <= side for (before, after), side in zip(pairs, kernel))
    function = _AVERAGE[len(kernel)]

    if even:
        padding = [before for before, _ in pairs]
        return node.call(function, value, kernel, strides, padding, ceiling, counted)  # type: ignore[no-any-return]

    wide = padded(node, value, pairs)
    means: Value = node.call(function, wide, kernel, strides, [0] * len(kernel), ceiling, True)
    if counted:
        return means

    inside = node.trace.constant(torch.ones(1, 1, *value.shape[2:]))
    shares: Value = node.call(function, padded(node, inside, pairs), kernel, strides, [0] * len(kernel), ceiling, True)
    return node.call(torch.div, means, shares)  # type: ignore[no-any-return]


@operator("GlobalAveragePool", "GlobalMaxPool")
def whole(node: Node) -> Value:
    value = node.input()
    axes = list(range(2, len(value.shape)))
    function = torch.mean if node.op == "GlobalAveragePool" else torch.amax
    return node.call(function, value, axes, keepdim=True)  # type: ignore[no-any-return]
