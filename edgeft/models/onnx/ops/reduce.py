"""Reductions over axes, ArgMax, CumSum."""

from __future__ import annotations

import torch

from ..node import Node
from ..registry import operator
from ..values import Value


def _l1(x: torch.Tensor, axes: list[int], keepdim: bool) -> torch.Tensor:
    return torch.sum(torch.abs(x), axes, keepdim=keepdim)


def _l2(x: torch.Tensor, axes: list[int], keepdim: bool) -> torch.Tensor:
    return torch.sqrt(torch.sum(x * x, axes, keepdim=keepdim))


def _square(x: torch.Tensor, axes: list[int], keepdim: bool) -> torch.Tensor:
    return torch.sum(x * x, axes, keepdim=keepdim)


def _log_sum(x: torch.Tensor, axes: list[int], keepdim: bool) -> torch.Tensor:
    return torch.log(torch.sum(x, axes, keepdim=keepdim))


def _product(x: torch.Tensor, axes: list[int], keepdim: bool) -> torch.Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keepdim)
    return x


_REDUCTIONS = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceProd": _product,
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceSumSquare": _square,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": torch.logsumexp,
}


@operator(*_REDUCTIONS)
def reduction(node: Node) -> Value:
    value = node.input()
    axes = node.ints(1, "axes", "the axes")
    if not axes:
        if node.attribute("noop_with_empty_axes", 0):
            return value
        axes = list(range(len(value.shape)))

    if not value.shape:
        return value

    _refuse_batch(node, value, axes)
    return node.call(_REDUCTIONS[node.op], value, axes, keepdim=bool(node.attribute("keepdims", 1)))  # type: ignore[no-any-return]


def _refuse_batch(node: Node, value: Value, axes: list[int]) -> None:
    axis = value.batch_axis
    if axis is not None and axis in [at % len(value.shape) for at in axes] and value.shape[axis] == 1:
        node.notes.add(f"{node.op} {node.name} reduces over the batch, which is taken as one sample")


@operator("ArgMax", "ArgMin")
def position(node: Node) -> Value:
    if node.attribute("select_last_index", 0):
        raise node.fail("with select_last_index is not supported")
    function = torch.argmax if node.op == "ArgMax" else torch.argmin
    return node.call(function, node.input(), node.axis(0), bool(node.attribute("keepdims", 1)))  # type: ignore[no-any-return]


@operator("CumSum")
def running_sum(node: Node) -> Value:
    if node.attribute("exclusive", 0) or node.attribute("reverse", 0):
        raise node.fail("exclusive or in reverse is not supported")
    return node.call(torch.cumsum, node.input(), int(node.known(1, "the axis").item()))  # type: ignore[no-any-return]
