"""A node of an ONNX graph as an operator's function sees it: inputs, attributes, opset, and errors that name it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...core.errors import ModelError
from .values import Trace, Value, numbers


@dataclass(frozen=True)
class Node:
    """One node: `inputs` are values, None where an optional one is left out; `attributes` by name.

    `outputs` are the names of the outputs that something may read ("" = left out); `imported` imports another graph
    (a branch) in the scope of this one; `notes` collects what the user should know.
    """

    op: str
    name: str
    inputs: tuple[Value | None, ...]
    attributes: dict[str, Any]
    opset: int
    outputs: tuple[str, ...]
    trace: Trace
    imported: Callable[[Any], list[Value]]
    notes: set[str]

    def fail(self, message: str, remedy: str = "") -> ModelError:
        """The error of this node."""
        return ModelError(message, where=f"node {self.name!r} ({self.op})", remedy=remedy)

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute: numbers, lists, text as str."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def has(self, position: int) -> bool:
        """Whether an input is given."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def input(self, position: int = 0) -> Value:
        """An input that must be given."""
        value = self.inputs[position] if position < len(self.inputs) else None
        if value is None:
            raise self.fail(f"lacks its input {position}")
        return value

    def known(self, position: int, what: str) -> np.ndarray:
        """The numbers of an input that has to be known when the model is imported."""
        value = self.input(position)
        if not value.constant:
            raise self.fail(
                f"{what} depends on the values of the model's inputs",
                "export the model with fixed sizes; only the batch may be open",
            )
        return numbers(value)

    def ints(self, position: int, attribute: str, what: str) -> list[int] | None:
        """Whole numbers that older opsets have as an attribute and newer ones as an input; None without both."""
        if self.has(position):
            return [int(number) for number in self.known(position, what).reshape(-1)]
        value = self.attributes.get(attribute)
        if value is None:
            return None
        return [int(number) for number in (value if isinstance(value, (list, tuple)) else [value])]

    def axis(self, default: int, rank: int | None = None) -> int:
        """The attribute `axis`, counted from the front."""
        axis = int(self.attribute("axis", default))
        rank = len(self.input().shape) if rank is None else rank
        if not -rank <= axis < max(rank, 1):
            raise self.fail(f"axis {axis} of a tensor with {rank} axes")
        return axis % rank if rank else 0

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Compute something; see `Trace.call`."""
        return self.trace.call(function, *args, **kwargs)

    def layer_name(self, weight: Value) -> str:
        """The name of the layer that this node becomes: that of its weight without the last part, or of the node."""
        head, dot, leaf = weight.name.rpartition(".")
        if dot and leaf in ("weight", "weight_v", "weight_orig", "kernel"):
            return head
        return self.name.replace(".", "_")

    def permuted(self, value: Value, order: Sequence[int]) -> Value:
        """`value` with its axes in another order; nothing where the order is the same."""
        if list(order) == list(range(len(order))):
            return value
        result: Value = self.call(torch.permute, value, list(order))
        return result
