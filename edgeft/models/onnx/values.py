"""Values of a graph that is being imported: what is known at import, and what depends on the model's inputs.

Operators call `Trace.call` with values and do not ask which of both they are: what is computed from constants alone is
a constant again, so that arithmetic with shapes folds away; everything else becomes a node of a torch graph. Each node
is run at once on an example of one sample, which gives the sizes of all that follow, and on the same with two samples,
which shows where the batch axis is.
"""

from __future__ import annotations

import keyword
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx, nn


class BatchIsFixed(Exception):
    """The graph cannot take two samples at once as it is written."""


@dataclass(frozen=True)
class Value:
    """A value of the graph: a constant where `node` is None.

    `tensor` is the value for the example of one sample, `pair` for the example of two (the same tensor for constants).
    `name` is that of the initializer that a constant was. Elements of the batch axis lie `outer` apart: a batch of
    sequences that were flattened time first has `outer` = number of time steps.
    """

    tensor: torch.Tensor
    node: fx.Node | None = None
    pair: torch.Tensor | None = None
    name: str = ""
    outer: int = 1

    @property
    def constant(self) -> bool:
        return self.node is None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape for one sample."""
        return tuple(self.tensor.shape)

    @property
    def batch_axis(self) -> int | None:
        """The first axis whose size follows the batch; None without one."""
        if self.pair is None or self.node is None:
            return None
        sizes = zip(self.tensor.shape, self.pair.shape)
        return next((axis for axis, (one, two) in enumerate(sizes) if one != two), None)


class Trace:
    """The torch graph that is being built, in which every call is also run on the examples.

    With `batched` false there is no example of two samples, and the graph is that of one sample.
    """

    def __init__(self, batched: bool) -> None:
        self.graph, self.root, self.batched = fx.Graph(), nn.Module(), batched
        self._attributes: dict[int, tuple[torch.Tensor, str]] = {}
        self._layers: dict[int, str] = {}

    # -- inputs and constants ------------------------------------------------------------------------------------------
    def placeholder(self, name: str, example: torch.Tensor) -> Value:
        """An input of the model; `example` has one sample."""
        pair = torch.cat([example, example.flip(-1)]) if self.batched else None
        return Value(example, self.graph.placeholder(_identifier(name)), pair)

    def constant(self, tensor: torch.Tensor, name: str = "") -> Value:
        return Value(tensor, pair=tensor, name=name)

    def attribute(self, value: Value) -> fx.Node:
        """The node that reads a constant: a parameter where it is an initializer of real numbers, else a buffer."""
        known = self._attributes.get(id(value.tensor))
        if known is not None:
            return self.graph.get_attr(known[1])

        name = self.free_name(_identifier(value.name) or "constant")
        tensor = value.tensor.detach().clone().contiguous()
        if value.name and tensor.is_floating_point() and tensor.numel() > 1:
            self.root.register_parameter(name, nn.Parameter(tensor))
        else:
            self.root.register_buffer(name, tensor)

        self._attributes[id(value.tensor)] = value.tensor, name  # which keeps the tensor, and so its id
        return self.graph.get_attr(name)

    def free_name(self, wish: str) -> str:
        """`wish`, or with a number where the root has that name."""
        name, number = wish, 1
        while hasattr(self.root, name):
            name, number = f"{wish}_{number}", number + 1
        return name

    # -- nodes ---------------------------------------------------------------------------------------------------------
    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`function` on values and plain arguments: a `Value`, or a list of them where it returns several tensors."""
        values = [value for value in _leaves([args, kwargs]) if isinstance(value, Value)]
        with torch.no_grad():
            tensors = function(*_map(args, _tensor), **_map(kwargs, _tensor))
            if all(value.constant for value in values):
                if isinstance(tensors, torch.Tensor):
                    return self.constant(tensors)
                return [self.constant(tensor) for tensor in tensors]
            pairs = self._pair(function, args, kwargs)

        arguments = _map(args, self._argument), _map(kwargs, self._argument)
        node = self.graph.call_function(function, *arguments)
        return self._traced(node, tensors, pairs, values)

    def module(self, wish: str, module: nn.Module, *inputs: Value) -> Any:
        """`module` on values, as a layer of the model with the name `wish` (dots make submodules).

        A module that is called again is the same layer.
        """
        module.eval()
        if id(module) not in self._layers:
            self._layers[id(module)] = self._add(wish, module)

        name = self._layers[id(module)]
        with torch.no_grad():
            tensors = module(*_map(inputs, _tensor))
            pairs = self._pair(module, inputs, {})

        node = self.graph.call_module(name, _map(inputs, self._argument))
        return self._traced(node, tensors, pairs, list(inputs))

    def _add(self, wish: str, module: nn.Module) -> str:
        path = [_identifier(part, digits=True) for part in wish.split(".") if part] or ["layer"]
        owner = self.root
        for part in path[:-1]:
            child = getattr(owner, part, None)
            if child is None:
                child = nn.Module()
                owner.add_module(part, child)
            elif not isinstance(child, nn.Module) or type(child) is not nn.Module:
                path, owner = ["_".join(path)], self.root  # a layer has that name
                break
            owner = child

        leaf, number = path[-1], 1
        while hasattr(owner, leaf):
            leaf, number = f"{path[-1]}_{number}", number + 1

        owner.add_module(leaf, module)
        return ".".join([*path[:-1], leaf])

    def _pair(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if not self.batched:
            return None
        try:
            return function(*_map(args, _pair_tensor), **_map(kwargs, _pair_tensor))
        except (RuntimeError, IndexError, ValueError) as error:
            raise BatchIsFixed(str(error)) from error

    def _traced(self, node: fx.Node, tensors: Any, pairs: Any, values: Sequence[Value]) -> Any:
        if isinstance(tensors, torch.Tensor):
            return self._value(node, tensors, pairs, values)
        pairs = [None] * len(tensors) if pairs is None else pairs
        parts = []
        for position, (tensor, pair) in enumerate(zip(tensors, pairs)):
            item = self.graph.call_function(operator.getitem, (node, position))
            parts.append(self._value(item, tensor, pair, values))
        return parts

    def _value(self, node: fx.Node, tensor: torch.Tensor, pair: torch.Tensor | None, values: Sequence[Value]) -> Value:
        result = Value(tensor, node, pair)
        axis = result.batch_axis
        if axis is None:
            return result

        for value in values:
            before = value.batch_axis
            if before is not None and value.outer > 1 and value.shape[before] == tensor.shape[axis]:
                return Value(tensor, node, pair, outer=value.outer)

        return result

    def _argument(self, value: Any) -> Any:
        """A value as an argument of a node: single numbers are written into it, as torch itself does."""
        if not isinstance(value, Value):
            return value
        if value.node is not None:
            return value.node
        if value.tensor.dim() == 0:
            return value.tensor.item()
        return self.attribute(value)

    # -- shapes --------------------------------------------------------------------------------------------------------
    def reshape(self, value: Value, sizes: Sequence[int]) -> Value:
        """`value` with the shape `sizes`, that of one sample without -1; the axis that holds the batch stays free."""
        axis = value.batch_axis
        target, outer = list(sizes), 1
        if axis is not None and 0 not in sizes:
            before = math.prod(value.shape[:axis]) * value.outer
            position = _axis_of_batch(target, before, value.shape[axis] // value.outer)
            outer = before // max(1, math.prod(target[:position]))
            target[position] = -1

        result = self.call(torch.reshape, value, target)
        if axis is None:
            return result  # type: ignore[no-any-return]

        return Value(result.tensor, result.node, result.pair, outer=outer)


def _axis_of_batch(sizes: Sequence[int], before: int, block: int) -> int:
    """The axis of a shape that the batch falls into: `before` elements are slower than it, `block` is its own share."""
    products = [math.prod(sizes[:axis]) for axis in range(len(sizes))]
    exact = [axis for axis, product in enumerate(products) if product == before]
    whole = [axis for axis in exact if sizes[axis] == block]
    last = len(sizes) - 1
    if whole:
        return whole[0]
    if exact and (exact[0] < last or last == 0 or before == 1):
        return exact[0]

    fitting = [axis for axis, product in enumerate(products) if before % product == 0 and product < before]
    return fitting[-1] if fitting else 0


def numbers(value: Value) -> np.ndarray:
    """The numbers of a constant."""
    return np.asarray(value.tensor.detach().cpu().numpy())


def _tensor(value: Any) -> Any:
    if not isinstance(value, Value):
        return value
    if value.constant and value.tensor.dim() == 0:
        return value.tensor
    return value.tensor


def _pair_tensor(value: Any) -> Any:
    return value.pair if isinstance(value, Value) else value


def _map(item: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(item, dict):
        return {key: _map(value, function) for key, value in item.items()}
    if isinstance(item, (list, tuple)) and not hasattr(item, "_fields"):
        return type(item)(_map(value, function) for value in item)
    return function(item)


def _leaves(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return [leaf for value in item.values() for leaf in _leaves(value)]
    if isinstance(item, (list, tuple)):
        return [leaf for value in item for leaf in _leaves(value)]
    return [item]


def _identifier(name: str, digits: bool = False) -> str:
    """`name` as torch takes it for an attribute."""
    text = re.sub(r"\W+", "_", name).strip("_")
    text = f"{text}_" if text in ("graph", "code") or keyword.iskeyword(text) else text  # a GraphModule has these
    return f"_{text}" if text[:1].isdigit() and not digits else text
