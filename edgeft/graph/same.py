"""Whether two graphs compute the same function bit for bit.

A convolution picks its kernel, and with it the order of its sums, by how its input lies in memory. Behind a
transposition two ops with equal values may leave the strides of an axis of size one different, which is enough. Where
that happens both graphs are run once more with every value laid out alike: if they then agree, it was the layout and
not the function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx


def same(first: fx.GraphModule, second: fx.GraphModule, rows: Sequence[torch.Tensor]) -> bool:
    """Whether both say the same of `rows`, the inputs of one call, bit by bit."""
    with torch.no_grad():
        return _equal(*(_flat(module(*rows)) for module in (first, second))) or _equal(
            *(_flat(_Alike(module).run(*rows)) for module in (first, second))
        )


class _Alike(fx.Interpreter):
    """Runs a graph with every value contiguous."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        return value.contiguous() if isinstance(value, torch.Tensor) else value


def _flat(outputs: Any) -> list[torch.Tensor]:
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def _equal(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs))
