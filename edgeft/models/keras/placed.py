"""Values of a Keras graph, and where their channels are.

Keras has the channels last; torch's layers, quantization and the runtimes' graphs have them first. A value is kept as
the layer that computed it left it, and is brought into the other order only where a layer needs it and nothing else
will do, so that a net of convolutions has no permutation at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import fx

from ..onnx.values import Trace, Value

#: axes as Keras has them; channels moved to the second axis; a flattened picture whose pixels are in torch's order
PLAIN, FIRST, FLAT = "plain", "first", "flat"


@dataclass(frozen=True)
class Placed:
    """A value and its order of axes; `source` is the picture that a `FLAT` value was flattened from."""

    value: Value
    form: str = PLAIN
    source: Placed | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape for one sample, in the order of Keras."""
        sizes = self.value.shape
        return (sizes[0], *sizes[2:], sizes[1]) if self.form == FIRST else sizes

    @property
    def rank(self) -> int:
        return len(self.value.shape)

    def axis(self, number: int) -> int:
        """The axis of the value that Keras calls `number` (which may count from the end)."""
        number %= self.rank
        if self.form != FIRST or number == 0:
            return number
        return 1 if number == self.rank - 1 else number + 1


class Order:
    """Brings values into the order that a layer needs, each once."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._done: dict[tuple[fx.Node | None, str], Value] = {}

    def first(self, placed: Placed) -> Value:
        """The value (N, *space, C) of Keras as (N, C, *space)."""
        if placed.form == FIRST:
            return placed.value
        return self._turned(self.plain(placed), FIRST)

    def plain(self, placed: Placed) -> Value:
        """The value in the order of Keras."""
        if placed.form == PLAIN:
            return placed.value

        if placed.form == FLAT:
            assert placed.source is not None
            key = placed.value.node, "unflat"
            if key not in self._done:
                self._done[key] = self.trace.call(torch.flatten, self.plain(placed.source), 1)
            return self._done[key]

        return self._turned(placed.value, PLAIN)

    def _turned(self, value: Value, form: str) -> Value:
        """The value with its channels moved: a reshape where that moves no number."""
        key = value.node, form
        if value.node is None or key not in self._done:
            rank = len(value.shape)
            axes = [0, rank - 1, *range(1, rank - 1)] if form == FIRST else [0, *range(2, rank), 1]
            sizes = [value.shape[axis] for axis in axes]
            channels, space = (sizes[1], sizes[2:]) if form == FIRST else (sizes[-1], sizes[1:-1])
            if rank < 3:
                self._done[key] = value
            elif channels == 1 or math.prod(space) == 1:
                self._done[key] = self.trace.reshape(value, sizes)
            else:
                self._done[key] = self.trace.call(torch.permute, value, axes)

        return self._done[key]
