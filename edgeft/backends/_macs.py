"""Multiply-accumulates from shapes, and the tally that becomes an `IntegerShare`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from ..config import numeric
from . import IntegerShare

INTEGER = numeric.STORED


def convolution(output: Sequence[int], taps: int) -> int:
    """`output` is the whole output shape in any layout; `taps` = input channels per group x kernel height x width.

    A transposed convolution is the same with its *input* shape and output channels per group.
    """
    return prod(output) * taps


def matmul(a: Sequence[int], output: Sequence[int]) -> int:
    """(..., M, K) or its transpose (..., K, M) times something, giving (..., M, N): M*N*K over the whole batch.

    The inner length is the axis of `a` that is not M; which one it is follows from the shapes.
    """
    if len(a) < 2 or len(output) < 2:
        return prod(output) * a[-1] if a else 0

    return prod(output) * (a[-1] if a[-2] == output[-2] or a[-1] != output[-2] else a[-2])


def recurrent(sequence: Sequence[int], weights: Sequence[Sequence[int]]) -> int:
    """Every weight matrix is applied once per step and sample: `sequence` is (steps, batch, features) or so."""
    return prod(sequence[:-1]) * sum(prod(w) for w in weights)


@dataclass
class Tally:
    """Counts executed ops while a runtime's graph is walked."""

    macs: int = 0
    integer_macs: int = 0
    ops: Counter[str] = field(default_factory=Counter)
    weighted_float: Counter[str] = field(default_factory=Counter)
    other_float: Counter[str] = field(default_factory=Counter)

    def add(self, op: str, dtype: str, *, macs: int = 0, integer: bool = False, moves: bool = False) -> None:
        """One executed op of `dtype`; `moves` says that it only moves or converts data and computes nothing."""
        self.ops[f"{op} {dtype}"] += 1
        self.macs += macs
        self.integer_macs += macs if integer else 0

        if not integer and not moves and (macs or dtype.startswith(("float", "bfloat"))):
            (self.weighted_float if macs else self.other_float)[op] += 1

    def share(self) -> IntegerShare:
        return IntegerShare(
            share=self.integer_macs / self.macs if self.macs else 0.0,
            macs=self.macs,
            integer_macs=self.integer_macs,
            float_ops=dict(self.weighted_float.most_common())
            | {k: v + self.weighted_float[k] for k, v in self.other_float.most_common()},
            ops=dict(self.ops.most_common()),
        )
