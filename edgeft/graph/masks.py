"""Masks of attention that hold minus infinity, as finite ones.

A weight of exactly 0 comes of -10,000 too, which every runtime and float16 can hold. LiteRT's converter takes the range
of a constant mask for its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .nodes import aten, attribute, set_attribute

#: what stands for minus infinity, and what is taken for it
MASKED, _INFINITE = -1e4, -1e30
#: hand a mask on to the scores, or add it to them
_ON_THE_WAY = {
    aten.unsqueeze.default, aten.squeeze.dim, aten.reshape.default, aten.expand.default, aten.slice.Tensor,
    aten.transpose.int, aten.permute.default, aten.select.int, aten.repeat.default,
    aten.triu.default, aten.tril.default,
    aten.add.Tensor, aten.baddbmm.default, aten.masked_fill.Scalar, aten.where.self, aten.to.dtype,
}  # fmt: skip
_ENDS = {aten.softmax.int, aten._softmax.default, aten.scaled_dot_product_attention.default}
#: make a tensor, and the place of the number that they put into it
_FILLS = {aten.masked_fill.Scalar: 2, aten.full.default: 1}


def finite(module: fx.GraphModule) -> None:
    """Replace minus infinity where nothing but a softmax reads it, in constants and in what code fills in."""
    for node in list(module.graph.nodes):
        at = _FILLS.get(node.target)
        if at is not None and _is_infinite(node.args[at]) and _ends_in_softmax(node):
            node.update_arg(at, MASKED)
        elif (
            node.op == "get_attr" and _is_mask(value := attribute(module, str(node.target))) and _ends_in_softmax(node)
        ):
            node.target = f"{node.target}_finite"
            set_attribute(module, node.target, value.detach().clamp(min=MASKED))


def _is_infinite(number: Any) -> bool:
    return isinstance(number, (int, float)) and number < _INFINITE


def _is_mask(value: torch.Tensor) -> bool:
    return value.is_floating_point() and bool((value < _INFINITE).any())


def _ends_in_softmax(node: fx.Node) -> bool:
    readers, seen = list(node.users), set[fx.Node]()
    while readers:
        reader = readers.pop()
        if reader in seen or reader.target in _ENDS:
            continue
        if reader.target not in _ON_THE_WAY:
            return False
        seen.add(reader)
        readers += list(reader.users)

    return bool(node.users)
