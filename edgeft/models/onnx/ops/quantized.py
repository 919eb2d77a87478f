"""Models that are quantized already are taken back to float: weights dequantized, activations no longer rounded.

A tool that quantizes may leave a ReLU out where the range of the quantized values begins at zero, since rounding clips
there. Such a range stays a clamp.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F

from ..node import Node
from ..registry import operator
from ..values import Value, numbers
from . import convolution, matrix

NOTE = (
    "the model is quantized already: it is taken back to float (weights dequantized, activations no longer rounded), "
    "and its ranges are not used"
)
_LOWEST = {torch.uint8: 0, torch.int8: -128, torch.int16: -32768}


@operator("DequantizeLinear")
def dequantize(node: Node) -> Value:
    """The real numbers of a constant, or of an input of the model that is integers; what `quantize` left is real."""
    value = node.input()
    node.notes.add(NOTE)
    if value.tensor.is_floating_point():
        return value
    scale, zero = _grid(node, node.input(1), node.inputs[2] if node.has(2) else None, value, 1)
    if value.constant:
        return node.trace.constant(_real(value.tensor, scale, zero), value.name)
    return node.call(_real, value, node.trace.constant(scale), node.trace.constant(zero))  # type: ignore[no-any-return]


def _real(x: torch.Tensor, scale: torch.Tensor | float, zero: torch.Tensor | int) -> torch.Tensor:
    return (x.to(torch.int64) - zero).to(torch.float32) * scale


def _grid(node: Node, scale: Value, zero: Value | None, value: Value, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point, in a shape that broadcasts to `value`."""
    if node.attribute("block_size", 0) or len(scale.shape) > 1:
        raise node.fail("has blocks of values with scales of their own, which are not supported")
    if not scale.constant or (zero is not None and not zero.constant):
        raise node.fail("has scales that are computed when the model runs")

    axis = node.axis(axis) if scale.tensor.numel() > 1 else 0
    shape = [-1 if at == axis else 1 for at in range(len(value.shape))]
    numbers_ = scale.tensor.float(), torch.zeros((), dtype=torch.int64) if zero is None else zero.tensor.long()
    first, second = (part.reshape(shape if part.numel() > 1 else ()) for part in numbers_)

    return first, second


@operator("QuantizeLinear")
def quantize(node: Node) -> Value:
    value = node.input()
    node.notes.add(NOTE)
    if node.attribute("block_size", 0):
        raise node.fail("has blocks of values with scales of their own, which are not supported")
    return _clipped(node, value, node.input(1), node.input(2)) if node.has(2) else value


def _clipped(node: Node, value: Value, scale: Value, zero: Value) -> Value:
    """`value` clamped to the range of its grid, where that begins at zero and nothing before clamps it."""
    kind = zero.tensor.dtype
    if value.constant or zero.tensor.numel() != 1 or numbers(zero).item() != _LOWEST.get(kind):
        return value
    if value.node is not None and value.node.target in (F.relu, F.relu6, torch.sigmoid, torch.clamp):
        return value
    bits = torch.iinfo(kind)
    high = float(scale.tensor.reshape(-1)[0]) * (bits.max - bits.min)
    return node.call(torch.clamp, value, min=0.0, max=high)  # type: ignore[no-any-return]


@operator("QLinearConv")
def conv(node: Node) -> Value:
    """Inputs: x, its scale and zero point, the same of the weight and of the output, then an integer bias."""
    node.notes.add(NOTE)
    value, weight = _as_real(node, 0), _as_real(node, 3)
    bias = None

    if node.has(8):
        step = node.input(1).tensor.float() * node.input(4).tensor.float()
        bias = node.trace.constant(node.input(8).tensor.float() * step.reshape(-1))

    result = convolution.conv(dataclasses.replace(node, inputs=(value, weight, bias)))
    assert isinstance(result, Value)
    return _clipped(node, result, node.input(6), node.input(7))


@operator("QLinearMatMul")
def matmul(node: Node) -> Value:
    node.notes.add(NOTE)
    result = matrix.matmul(dataclasses.replace(node, inputs=(_as_real(node, 0), _as_real(node, 3))))
    assert isinstance(result, Value)
    return _clipped(node, result, node.input(6), node.input(7))


def _as_real(node: Node, position: int) -> Value:
    """An input of an integer operator with its scale and zero point behind it, as real numbers."""
    value, scale, zero = (node.input(position + at) for at in range(3))
    if value.tensor.is_floating_point():
        return value
    first, second = _grid(node, scale, zero, value, 0)
    if value.constant:
        return node.trace.constant(_real(value.tensor, first, second), value.name)
    return node.call(_real, value, node.trace.constant(first), node.trace.constant(second))  # type: ignore[no-any-return]


@operator("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
def integer_operator(node: Node) -> Value:
    raise node.fail(
        "computes with integers whose ranges are found when the model runs (dynamic quantization)",
        "export the float model, or a quantized one in the QDQ format",
    )
