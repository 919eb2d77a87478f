"""Models that are quantized already are taken back to float: weights dequantized, activations no longer rounded.

A tool that quantizes may leave a ReLU out where the range of the quantized values begins at zero, since rounding clips
there. Such a range stays a clamp. Every range is kept with the value that it belongs to (`RANGE`).
"""

from __future__ import annotations

import dataclasses
import operator as python
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from ...built import RANGE
from ..node import Node
from ..registry import operator
from ..values import Value, numbers
from . import activation, convolution, elementwise, matrix, pooling, shape

NOTE = "the model is quantized already: it is taken back to float (weights dequantized, activations no longer rounded)"
_LOWEST = {torch.uint8: 0, torch.int8: -128, torch.int16: -32768}
#: ONNX's numbers of the types of quantized values
_TYPES = {2: torch.uint8, 3: torch.int8, 5: torch.int16}


@operator("DequantizeLinear", "com.microsoft.DequantizeLinear")
def dequantize(node: Node) -> Value:
    """The real numbers of a constant, or of an input of the model that is integers; what `quantize` left is real."""
    value = node.input()
    node.notes.add(NOTE)
    if value.tensor.is_floating_point():
        return value
    scale, zero = _grid(node, node.input(1), node.inputs[2] if node.has(2) else None, value, 1)
    if value.constant:
        return node.trace.constant(_real(value.tensor, scale, zero), value.name)
    result: Value = node.call(_real, value, node.trace.constant(scale), node.trace.constant(zero))
    _keep_range(result, node.input(1), value.tensor.dtype, node.inputs[2] if node.has(2) else None)
    return result


def _real(x: torch.Tensor, scale: torch.Tensor | float, zero: torch.Tensor | int) -> torch.Tensor:
    return (x.to(torch.float32) - zero) * scale


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


@operator("QuantizeLinear", "com.microsoft.QuantizeLinear")
def quantize(node: Node) -> Value:
    value = node.input()
    node.notes.add(NOTE)
    if node.attribute("block_size", 0):
        raise node.fail("has blocks of values with scales of their own, which are not supported")
    kind = _TYPES.get(int(node.attribute("output_dtype", 0) or 2), torch.uint8)
    zero = node.input(2) if node.has(2) else node.trace.constant(torch.zeros((), dtype=kind))
    return _clipped(node, value, node.input(1), zero)


def _clipped(node: Node, value: Value, scale: Value, zero: Value) -> Value:
    """`value` with the range of its grid, clamped to it where that begins at zero and nothing before clamps it."""
    kind = zero.tensor.dtype
    if value.constant or zero.tensor.numel() != 1 or scale.tensor.numel() != 1 or kind not in _LOWEST:
        return value

    at_zero = numbers(zero).item() == _LOWEST[kind]
    clamps = value.node is not None and value.node.target in (F.relu, F.relu6, torch.sigmoid, torch.clamp)
    if at_zero and not clamps:
        bits = torch.iinfo(kind)
        high = float(scale.tensor.reshape(-1)[0]) * (bits.max - bits.min)
        value = node.call(torch.clamp, value, min=0.0, max=high)

    _keep_range(value, scale, kind, zero)
    return value


def _keep_range(value: Value, scale: Value, kind: torch.dtype, zero: Value | None) -> None:
    """Note the range of a grid with its value; a value that is on several grids has the widest of their ends."""
    if value.node is None or scale.tensor.numel() != 1 or kind not in _LOWEST:
        return

    bits, step = torch.iinfo(kind), float(scale.tensor.reshape(-1)[0])
    offset = 0 if zero is None else int(zero.tensor.reshape(-1)[0])
    low, high = (bits.min - offset) * step, (bits.max - offset) * step
    before = value.node.meta.get(RANGE, (low, high))
    value.node.meta[RANGE] = min(low, before[0]), max(high, before[1])


@operator("QLinearConv")
def conv(node: Node) -> Value:
    """Inputs: x, its scale and zero point, the same of the weight and of the output, then an integer bias."""
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
    inputs = _as_real(node, 0, -2), _as_real(node, 3, -1)
    result = matrix.matmul(dataclasses.replace(node, inputs=inputs))
    assert isinstance(result, Value)
    return _clipped(node, result, node.input(6), node.input(7))


@operator("com.microsoft.QGemm")
def gemm(node: Node) -> Value:
    """Inputs: two matrices with scale and zero point, an integer bias, scale and zero point of the output, which may be
    left out: the output is real then."""
    straight = bool(node.attribute("transB", 0))
    inputs = [_as_real(node, 0), _as_real(node, 3, 0 if straight else 1)]
    if node.has(6):
        step = node.input(1).tensor.float() * node.input(4).tensor.float() * float(node.attribute("alpha", 1.0))
        inputs.append(node.trace.constant(node.input(6).tensor.float() * step.reshape(-1)))

    result = matrix.gemm(dataclasses.replace(node, inputs=tuple(inputs)))
    assert isinstance(result, Value)
    return _clipped(node, result, node.input(7), node.input(8)) if node.has(7) else result


@operator("com.microsoft.QLinearAdd", "com.microsoft.QLinearMul")
def arithmetic(node: Node) -> Value:
    function = python.add if node.op.endswith("Add") else python.mul
    result = elementwise.binary(node, function, _as_real(node, 0), _as_real(node, 3))
    return _clipped(node, result, node.input(6), _zero(node, 7))


@operator("com.microsoft.QLinearConcat")
def concat(node: Node) -> Value:
    """Inputs: scale and zero point of the output, then those of each value behind it."""
    values = tuple(_as_real(node, position) for position in range(2, len(node.inputs), 3))
    result = shape.concat(dataclasses.replace(node, inputs=values))
    assert isinstance(result, Value)
    return _clipped(node, result, node.input(0), _zero(node, 1))


#: {an operator of one value with scale and zero point, and those of its output: the function of real numbers}
_OF_ONE: dict[str, Callable[[Node], Any]] = {
    "QLinearAveragePool": pooling.pool,
    "QLinearGlobalAveragePool": pooling.whole,
    "QLinearLeakyRelu": activation.leaky_relu,
    "QLinearSigmoid": activation.plain,
    "QLinearSoftmax": activation.softmax,
}


@operator(*(f"com.microsoft.{name}" for name in _OF_ONE))
def of_one(node: Node) -> Value:
    if node.attribute("channels_last", 0):
        raise node.fail("has its channels last, which is not supported")

    name = node.op.rpartition(".")[2]
    real = dataclasses.replace(node, op=name.removeprefix("QLinear"), inputs=(_as_real(node, 0),))
    if name == "QLinearSoftmax":  # the opset that its axis is meant by is an attribute
        real = dataclasses.replace(real, opset=int(node.attribute("opset", node.opset)))

    result = _OF_ONE[name](real)
    assert isinstance(result, Value)
    return _clipped(node, result, node.input(3), _zero(node, 4))


def _zero(node: Node, position: int) -> Value:
    """A zero point that may be left out."""
    return node.input(position) if node.has(position) else node.trace.constant(torch.zeros((), dtype=torch.uint8))


def _as_real(node: Node, position: int, axis: int = 0) -> Value:
    """An input of an integer operator with its scale and zero point behind it, as real numbers.

    `axis` is that of scales a channel.
    """
    node.notes.add(NOTE)
    value, scale = node.input(position), node.input(position + 1)
    if value.tensor.is_floating_point():
        return value

    zero = node.inputs[position + 2] if node.has(position + 2) else None
    plain = dataclasses.replace(node, inputs=(value,), attributes={})
    first, second = _grid(plain, scale, zero, value, axis)
    if value.constant:
        return node.trace.constant(_real(value.tensor, first, second), value.name)

    result: Value = node.call(_real, value, node.trace.constant(first), node.trace.constant(second))
    _keep_range(result, scale, value.tensor.dtype, zero)
    return result


@operator("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
def integer_operator(node: Node) -> Value:
    raise node.fail(
        "computes with integers whose ranges are found when the model runs (dynamic quantization)",
        "export the float model, or a quantized one in the QDQ format",
    )
