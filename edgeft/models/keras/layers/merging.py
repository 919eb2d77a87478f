"""Layers and operations on several values."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ...onnx.values import Value
from ..layer import Layer, tensor_of
from ..placed import FIRST, FLAT, Placed
from ..registry import imports

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Divide": operator.truediv,
    "TrueDivide": operator.truediv,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "Average": operator.add,
    "Power": torch.pow,
}


def aligned(layer: Layer, arguments: Sequence[Any]) -> tuple[list[Any], str]:
    """Values in one order of axes, and that order: channels first where one of them has them so. Plain numbers stay,
    arrays become constants."""
    placed = [a for a in arguments if isinstance(a, Placed)]
    rank = max(p.rank for p in placed)
    first = any(p.form == FIRST for p in placed)
    values: list[Any] = []

    for argument in arguments:
        if isinstance(argument, Placed):
            if first and argument.rank == rank:
                values.append(layer.order.first(argument))
            elif first and argument.rank == 2 == rank - 2 and argument.shape[0] != 1:
                raise layer.fail(f"joins values of {rank} and {argument.rank} axes")
            else:
                values.append(layer.order.plain(argument))
            continue
        if isinstance(argument, (int, float, bool)):
            values.append(argument)
            continue
        tensor = tensor_of(np.asarray(argument) if isinstance(argument, (list, tuple)) else argument)
        if tensor.numel() == 1:
            values.append(float(tensor))
            continue
        tensor = tensor.reshape((1,) * (rank - tensor.dim()) + tuple(tensor.shape))
        values.append(layer.trace.constant(tensor.movedim(-1, 1) if first else tensor))

    return values, FIRST if first else ""


def _form(form: str, value: Value) -> Placed:
    return Placed(value, FIRST) if form else Placed(value)


@imports("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
def merge(layer: Layer) -> Placed:
    arguments = layer.inputs
    values, form = aligned(layer, arguments)
    function = _FUNCTIONS[layer.kind]
    result: Value = functools.reduce(lambda a, b: layer.call(function, a, b), values)
    if layer.kind == "Average":
        result = layer.call(operator.mul, result, 1 / len(values))
    return _form(form, result)


@imports(
    "ops.Add", "ops.Subtract", "ops.Multiply", "ops.Divide", "ops.TrueDivide", "ops.Maximum", "ops.Minimum", "ops.Power"
)
def calculate(layer: Layer) -> Placed:
    names = (("x1", 0), ("x2", 1))
    pair = [layer.argument(name, position) for name, position in names]
    single = next((item for item in pair if isinstance(item, Placed)), None)
    other = next((item for item in pair if not isinstance(item, Placed)), None)
    function = _FUNCTIONS[layer.kind.removeprefix("ops.")]

    if single is not None and isinstance(other, (int, float)):
        before = isinstance(pair[0], Placed)
        if function in (torch.maximum, torch.minimum):
            side = {"min": float(other)} if function is torch.maximum else {"max": float(other)}
            return layer.each(single, lambda part: layer.call(torch.clamp, part.value, **side))
        return layer.each(
            single,
            lambda part: layer.call(function, part.value, other) if before else layer.call(function, other, part.value),
        )

    values, form = aligned(layer, pair)
    return _form(form, layer.call(function, *values))


@imports("Concatenate", "ops.Concatenate")
def concatenate(layer: Layer) -> Placed:
    parts = layer.inputs
    axis = int(layer.argument("axis", 1, -1) if layer.kind.startswith("ops.") else layer.keras.axis)
    if any(p.form == FLAT for p in parts):
        parts = [Placed(layer.order.plain(p)) for p in parts]
    values, form = aligned(layer, parts)
    place = Placed(values[0], FIRST if form else parts[0].form)
    return _form(form, layer.call(torch.cat, values, dim=place.axis(axis)))


@imports("Dot")
def dot(layer: Layer) -> Placed:
    first, second = (layer.order.plain(part) for part in layer.inputs)
    axes = layer.keras.axes if isinstance(layer.keras.axes, (list, tuple)) else [layer.keras.axes] * 2
    if len(first.shape) != 2 or len(second.shape) != 2 or layer.keras.normalize or [a % 2 for a in axes] != [1, 1]:
        raise layer.fail("is read for rows (N, K) alone, without normalization")
    return Placed(layer.call(torch.sum, layer.call(operator.mul, first, second), 1, keepdim=True))
