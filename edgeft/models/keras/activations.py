"""Activations by the names that Keras gives them, as the torch functions that quantization knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from ...core.errors import ModelError
from ..onnx.values import Trace, Value
from .placed import Placed

_SIMPLE: dict[str, Callable[..., Any]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
    "hard_tanh": F.hardtanh,
    "silu": F.silu,
    "swish": F.silu,
    "hard_silu": F.hardswish,
    "hard_swish": F.hardswish,
    "mish": F.mish,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "log_sigmoid": F.logsigmoid,
    "exponential": torch.exp,
    "tanh_shrink": F.tanhshrink,
}
#: of an axis, which the order of axes decides
_OF_AXIS: dict[str, Callable[..., Any]] = {"softmax": F.softmax, "log_softmax": F.log_softmax}
_PLAIN = {**_SIMPLE, **_OF_AXIS, "linear": None, "gelu": None, "leaky_relu": None}
#: slope of Keras' function leaky_relu below zero
_SLOPE = 0.2


def of_axis(function: Any) -> bool:
    """Whether the activation's result depends on the numbers beside each one."""
    return _name(function) in _OF_AXIS


def _name(function: Any) -> str:
    return function if isinstance(function, str) else str(getattr(function, "__name__", type(function).__name__))


def apply(trace: Trace, placed: Placed, function: Any, fail: Callable[[str, str], ModelError]) -> Value:
    """The value of `placed` behind a Keras activation: a function or its name. Raises what `fail` makes for others."""
    name = _name(function)
    module = "" if isinstance(function, str) else str(getattr(function, "__module__", ""))
    if name not in _PLAIN or (module and not module.startswith("keras.")):
        raise fail(f"has the activation {name!r}, which is not read", f"known: {', '.join(sorted(_PLAIN))}")
    if name == "linear":
        return placed.value
    if name in _OF_AXIS:
        return trace.call(_OF_AXIS[name], placed.value, dim=placed.axis(-1))  # type: ignore[no-any-return]
    if name == "gelu":
        return trace.call(F.gelu, placed.value)  # type: ignore[no-any-return]
    if name == "leaky_relu":
        return trace.call(F.leaky_relu, placed.value, _SLOPE)  # type: ignore[no-any-return]

    return trace.call(_SIMPLE[name], placed.value)  # type: ignore[no-any-return]
