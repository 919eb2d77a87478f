"""Modules whose code turns the batch size into a Python number: a free batch axis where there can be one.

`x.view(int(x.shape[0]), 8, -1)` fixes the batch of a trace, although the code is right for every batch. Two traces with
batches of different sizes show which numbers of the graph follow the batch; a graph with these numbers computed from
its input is traced again. Where the graph itself depends on the batch (a loop over the samples) it is traced for one
sample, and `SampleBySample` runs it on more.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from .nodes import CONV, CONV_PADDING, CONV_TRANSPOSE, aten

#: batch sizes of the two traces: primes that sizes of layers are seldom multiples of
FIRST, SECOND = 7, 11
#: what names a node for users
_PLACE = ("nn_module_stack", "stack_trace", "source_fn_stack")

Example = tuple[torch.Tensor, ...]


class SampleBySample(fx.GraphModule):
    """A graph for a batch of 1 that takes any batch: the samples go through it one after another."""

    def _call_impl(self, *inputs: torch.Tensor) -> Any:
        if all(len(tensor) == 1 for tensor in inputs):
            return super()._call_impl(*inputs)

        rows = [super(SampleBySample, self)._call_impl(*row) for row in zip(*(t.split(1) for t in inputs))]
        if isinstance(rows[0], torch.Tensor):
            return torch.cat(rows)
        return tuple(torch.cat(column) for column in zip(*rows))


def grouped_by_sample(graph: fx.Graph) -> bool:
    """Whether a convolution has as many groups as there are samples (weights that follow the input): files have a
    number there."""
    return any(
        node.target in (*CONV, *CONV_PADDING, *CONV_TRANSPOSE) and any(isinstance(a, fx.Node) for a in node.args[3:])
        for node in graph.nodes
    )


def with_free_batch(trace: Callable[[int], fx.GraphModule]) -> fx.GraphModule | None:
    """The graph of `trace(batch)` with the numbers that follow the batch computed from the first input.

    None where the two traces differ in anything else.
    """
    first, second = trace(FIRST), trace(SECOND)
    ours, theirs = list(first.graph.nodes), list(second.graph.nodes)
    if len(ours) != len(theirs):
        return None

    twin = dict(zip(ours, theirs))
    places: list[tuple[fx.Node, int]] = []
    for node, other in twin.items():
        if node.op != other.op or (node.op != "get_attr" and node.target != other.target):
            return None
        if not _follow(node, [node.args, node.kwargs], [other.args, other.kwargs], twin, places):
            return None

    _compute(first, places)
    return first


def _follow(
    node: fx.Node, ours: Any, theirs: Any, twin: dict[fx.Node, fx.Node], places: list[tuple[fx.Node, int]]
) -> bool:
    """Whether the arguments are alike; `places` grows by the numbers that are a multiple of the batch."""
    if isinstance(ours, fx.Node):
        return twin[ours] is theirs
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and _follow(node, [*ours.values()], [*theirs.values()], twin, places)

    if isinstance(ours, (list, tuple)):
        alike = isinstance(theirs, (list, tuple)) and len(ours) == len(theirs)
        return alike and all(_follow(node, a, b, twin, places) for a, b in zip(ours, theirs))
    if ours == theirs:
        return True
    if type(ours) is not int or type(theirs) is not int or ours * SECOND != theirs * FIRST:
        return False

    places.append((node, ours))
    return True


def _compute(module: fx.GraphModule, places: Sequence[tuple[fx.Node, int]]) -> None:
    """Each of these numbers in these nodes becomes a multiple of the first input's first size."""
    graph = module.graph
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    with graph.inserting_after(inputs[-1]):
        batch = graph.call_function(aten.sym_size.int, (inputs[0], 0))

    for node, number in places:
        with graph.inserting_before(node):
            times = number // FIRST
            size = batch if times == 1 else graph.call_function(operator.mul, (batch, times))

        def of(value: Any, number: int = number, size: fx.Node = size) -> Any:
            if type(value) is int and value == number:
                return size
            if isinstance(value, (list, tuple)):
                return [of(item) for item in value]
            return value

        node.args = tuple(of(argument) for argument in node.args)
        node.kwargs = {name: of(argument) for name, argument in node.kwargs.items()}

    graph.lint()
    module.recompile()


def copy_places(source: fx.GraphModule, traced: fx.Graph) -> None:
    """Give the nodes of a second trace the modules and lines of code that those of the first had."""
    named = [node for node in source.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    for node in traced.nodes:
        if node.op == "call_function" and named and node.target is named[0].target:
            origin = named.pop(0)
            node.meta.update({key: origin.meta[key] for key in _PLACE if key in origin.meta})
