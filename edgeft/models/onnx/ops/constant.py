"""Constants, and values made from shapes."""

from __future__ import annotations

import numpy as np
import torch

from ..node import Node
from ..registry import operator
from ..values import Value

_LISTS = ("value_float", "value_floats", "value_int", "value_ints")


@operator("Constant")
def constant(node: Node) -> Value:
    if "value" in node.attributes:
        return node.trace.constant(node.attributes["value"])
    for name in _LISTS:
        if name in node.attributes:
            kind = torch.float32 if "float" in name else torch.int64
            return node.trace.constant(torch.tensor(node.attributes[name], dtype=kind))
    raise node.fail("holds text or a sparse tensor, which is not supported")


@operator("ConstantOfShape")
def filled(node: Node) -> Value:
    shape = [int(size) for size in node.known(0, "the shape").reshape(-1)]
    fill = node.attributes.get("value", torch.zeros(1))
    return node.trace.constant(torch.full(shape, fill.reshape(-1)[0].item(), dtype=fill.dtype))


@operator("Range")
def numbers_from_to(node: Node) -> Value:
    start, limit, step = (node.known(position, "a bound").item() for position in range(3))
    return node.trace.constant(torch.arange(start, limit, step, dtype=node.input(0).tensor.dtype))


@operator("EyeLike")
def eye(node: Node) -> Value:
    rows, columns = node.input().shape
    return node.trace.constant(torch.eye(rows, columns))


@operator("OneHot")
def one_hot(node: Node) -> Value:
    depth, (off, on) = int(node.known(1, "the depth").item()), node.known(2, "the values")
    axis = int(node.attribute("axis", -1))
    indices = node.input()
    axis += len(indices.shape) + 1 if axis < 0 else 0
    return node.call(_one_hot, indices, depth, float(off), float(on), axis)  # type: ignore[no-any-return]


def _one_hot(indices: torch.Tensor, depth: int, off: float, on: float, axis: int) -> torch.Tensor:
    classes = torch.arange(depth, device=indices.device)
    hot = (torch.remainder(indices, depth).unsqueeze(-1) == classes).float() * (on - off) + off
    return hot.movedim(-1, axis)


@operator("NonZero")
def non_zero(node: Node) -> Value:
    where = np.stack(np.nonzero(node.known(0, "which elements are not zero")))
    return node.trace.constant(torch.from_numpy(where.astype(np.int64)))


@operator("Trilu")
def triangle(node: Node) -> Value:
    diagonal = int(node.known(1, "the diagonal").item()) if node.has(1) else 0
    function = torch.triu if node.attribute("upper", 1) else torch.tril
    return node.call(function, node.input(), diagonal)  # type: ignore[no-any-return]
