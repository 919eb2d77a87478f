"""A layer of a Keras graph as its importer sees it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ...core.errors import ModelError
from ..onnx.values import Trace, Value
from . import activations
from .placed import FIRST, FLAT, PLAIN, Order, Placed


@dataclass
class Layer:
    """`keras` is Keras' own object, `name` its path in the model, `args` and `kwargs` what it is called with: `Placed`
    values and plain arguments. `modules` holds the torch modules of layers that were imported, so that a layer which is
    called twice has its weights once; `notes` are for the user."""

    keras: Any
    name: str
    kind: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    trace: Trace
    order: Order
    modules: dict[tuple[int, str], nn.Module]
    notes: set[str]

    def fail(self, message: str, remedy: str = "") -> ModelError:
        return ModelError(message, where=f"layer {self.name!r} ({self.kind})", remedy=remedy)

    # -- what goes in ----------------------------------------------------------------------------------------------
    @property
    def input(self) -> Placed:
        """The first argument; raises `ModelError` where it is no value of the graph."""
        first = self.args[0] if self.args else next(iter(self.kwargs.values()), None)
        if not isinstance(first, Placed):
            raise self.fail("is not called with one tensor")
        return first

    @property
    def inputs(self) -> list[Any]:
        """The arguments of a layer that joins several: those of its list, or all."""
        first = self.args[0] if self.args else []
        return list(first) if isinstance(first, (list, tuple)) else list(self.args)

    def argument(self, name: str, position: int, default: Any = None) -> Any:
        """An argument of the call by its name or position, or that which the operation was built with."""
        if name in self.kwargs:
            return self.kwargs[name]
        if len(self.args) > position:
            return self.args[position]
        return getattr(self.keras, name, default)

    def weight(self, name: str) -> torch.Tensor:
        """A weight of the layer, float32."""
        return tensor_of(getattr(self.keras, name))

    @property
    def channels_first(self) -> bool:
        """Whether the layer itself has its channels first."""
        return getattr(self.keras, "data_format", None) == "channels_first"

    def space(self, placed: Placed) -> Value:
        """The value with its channels first, as the layer understands channels."""
        return self.order.plain(placed) if self.channels_first else self.order.first(placed)

    def spatial(self, value: Value) -> Placed:
        """A value with its channels first, as the layer hands it on."""
        return Placed(value, PLAIN if self.channels_first else FIRST)

    # -- what comes out --------------------------------------------------------------------------------------------
    def module(self, value: Value, make: Callable[[], nn.Module], part: str = "", *more: Value) -> Any:
        """The torch module of this layer (or of a `part` of it) on a value; `make` builds it at the first call."""
        key = id(self.keras), part
        if key not in self.modules:
            self.modules[key] = make()
        wish = f"{self.name}.{part}" if part else self.name
        return self.trace.module(wish, self.modules[key], value, *more)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.trace.call(function, *args, **kwargs)

    def each(self, placed: Placed, function: Callable[[Placed], Value]) -> Placed:
        """What `function` computes of every number by itself, in the same order of axes."""
        if placed.source is not None:
            return self.flattened(self.each(placed.source, function))
        return Placed(function(placed), placed.form)

    def flattened(self, picture: Placed) -> Placed:
        """A picture (N, C, *space) as one row a sample, in torch's order of its pixels."""
        row = self.call(torch.flatten, picture.value, 1)  # whatever the sizes: a new classifier may stand before it
        return Placed(row) if math.prod(picture.value.shape[2:]) == 1 else Placed(row, FLAT, picture)

    def activated(self, placed: Placed, activation: Any = None) -> Placed:
        """The value behind the layer's own activation, or `activation`."""
        function = self.keras.activation if activation is None else activation
        if activations.of_axis(function) and placed.form == FLAT:
            placed = Placed(self.order.plain(placed))
        return self.each(placed, lambda part: activations.apply(self.trace, part, function, self.fail))


def tensor_of(variable: Any) -> torch.Tensor:
    """A Keras variable, array or tensor as float32 on the CPU, with memory of its own."""
    value = getattr(variable, "value", variable)
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().to(torch.float32).clone()
    return torch.from_numpy(np.array(value, np.float32))


def pair(value: Any, rank: int = 2) -> tuple[int, ...]:
    """A size of each axis in space."""
    return tuple(int(v) for v in value) if isinstance(value, (list, tuple)) else (int(value),) * rank
