"""Element by element: arithmetic, comparisons, functions of one value, Where, Cast."""

from __future__ import annotations

import operator as python
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..node import Node
from ..registry import operator
from ..values import Value

_BINARY: dict[str, Callable[..., Any]] = {
    "Add": python.add,
    "Sub": python.sub,
    "Mul": python.mul,
    "Equal": python.eq,
    "Greater": python.gt,
    "GreaterOrEqual": python.ge,
    "Less": python.lt,
    "LessOrEqual": python.le,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
    "Pow": torch.pow,
}
_UNARY: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Asin": torch.asin,
    "Atan": torch.atan,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
}
#: ONNX's numbers of types that are not computed as they are named: real numbers are float32 here
_FLOATS = (1, 10, 11, 16)
_TYPES = {
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
}


def as_number(value: Value, other: Value, node: Node) -> Value:
    """A constant of one element as a plain number, where that does not change the shape of the result."""
    if value.constant and not other.constant and value.tensor.numel() == 1 and len(value.shape) <= len(other.shape):
        return node.trace.constant(value.tensor.reshape(()))
    return value


def binary(node: Node, function: Callable[..., Any], first: Value, second: Value) -> Value:
    """`function` of two values with ONNX's broadcasting, which is numpy's since opset 7."""
    first, second = as_number(first, second, node), as_number(second, first, node)
    try:
        result: Value = node.call(function, first, second)
    except RuntimeError as error:
        raise node.fail(f"inputs of the shapes {first.shape} and {second.shape} do not fit") from error
    return result


@operator(*_BINARY)
def two(node: Node) -> Value:
    if node.op == "Pow" and node.input(0).constant and not node.input(1).constant:
        return node.call(torch.pow, node.input(0), node.input(1))  # type: ignore[no-any-return]
    result = binary(node, _BINARY[node.op], node.input(0), node.input(1))
    if node.op == "Pow" and result.tensor.dtype != node.input(0).tensor.dtype:
        result = node.call(torch.Tensor.to, result, node.input(0).tensor.dtype)
    return result


@operator("Div")
def division(node: Node) -> Value:
    first, second = node.input(0), node.input(1)
    if first.tensor.is_floating_point():
        return binary(node, python.truediv, first, second)
    return node.call(torch.div, first, second, rounding_mode="trunc")  # type: ignore[no-any-return]


@operator("Mod")
def modulo(node: Node) -> Value:
    function = torch.fmod if node.attribute("fmod", 0) else torch.remainder
    return binary(node, function, node.input(0), node.input(1))


@operator("Sum", "Mean")
def several(node: Node) -> Value:
    total = node.input(0)
    for position in range(1, len(node.inputs)):
        total = binary(node, python.add, total, node.input(position))
    if node.op == "Mean" and len(node.inputs) > 1:
        total = node.call(python.truediv, total, float(len(node.inputs)))
    return total


@operator("Max", "Min")
def extreme(node: Node) -> Value:
    result = node.input(0)
    for position in range(1, len(node.inputs)):
        result = _of_two(node, result, node.input(position))
    return result


def _of_two(node: Node, first: Value, second: Value) -> Value:
    first, second = as_number(first, second, node), as_number(second, first, node)
    for value, other in ((first, second), (second, first)):
        if value.constant and value.tensor.dim() == 0 and not other.constant:
            bound = {"min": value.tensor.item()} if node.op == "Max" else {"max": value.tensor.item()}
            return node.call(torch.clamp, other, **bound)  # type: ignore[no-any-return]
    return node.call(torch.maximum if node.op == "Max" else torch.minimum, first, second)  # type: ignore[no-any-return]


@operator(*_UNARY)
def one(node: Node) -> Value:
    return node.call(_UNARY[node.op], node.input())  # type: ignore[no-any-return]


@operator("Where")
def where(node: Node) -> Value:
    condition, first, second = node.input(0), node.input(1), node.input(2)
    return node.call(torch.where, condition, first, second)  # type: ignore[no-any-return]


@operator("Cast", "CastLike")
def cast(node: Node) -> Value:
    value = node.input()
    if node.op == "CastLike":
        kind = node.input(1).tensor.dtype
    else:
        number = int(node.attribute("to", 0))
        if number not in _FLOATS and number not in _TYPES:
            raise node.fail(f"casts to the type {number} of ONNX, which is not supported")
        kind = torch.float32 if number in _FLOATS else _TYPES[number]

    if value.tensor.dtype == kind:
        return value
    return node.call(torch.Tensor.to, value, kind)  # type: ignore[no-any-return]


@operator("Identity", "Dropout")
def same(node: Node) -> Sequence[Value]:
    """A dropout does nothing in inference; its mask, where something reads it, is true everywhere."""
    return [node.input(), node.trace.constant(torch.ones(node.input().shape, dtype=torch.bool))]
