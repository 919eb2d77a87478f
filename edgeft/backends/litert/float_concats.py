"""Concatenations in float of a dequantized tensor with constants, as sums: a class token before the patches. Likewise
with floats that are computed (half of the channels through a layer), and padding with another number than zero: the
column of ones from which linear attention has its denominator.

LiteRT's converter moves the dequantization behind such an op and rounds the others to the grid of that tensor, whose
range may be a hundred times theirs: it computes something else than the graph. Padded with zeros and added, the same
values come out in float.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import fx
from torch.fx.passes.shape_prop import ShapeProp

from ...graph.nodes import aten, attribute
from .barriers import MOVES as _MOVES

_QUANTIZE = "quantized_decomposed.quantize_per_"
_MAX_POOLS = (aten.max_pool1d.default, aten.max_pool2d.default, aten.max_pool3d.default)
_PADS = (aten.pad.default, aten.constant_pad_nd.default)


def as_sums(module: fx.GraphModule, example: Sequence[torch.Tensor]) -> fx.GraphModule:
    """The module with such concatenations and pads as a pad with zeros and a sum; the same object where it has none.

    `example` are inputs of the module; its weights are shared with the result.
    """
    if not any(_is_mixed(module, node) or _padded_with(node) for node in module.graph.nodes):
        return module

    changed = fx.GraphModule(module, copy.deepcopy(module.graph))
    with torch.no_grad():
        ShapeProp(changed).propagate(*example)

    for number, node in enumerate(list(changed.graph.nodes)):
        if _is_mixed(changed, node):
            _replace(changed, node, f"_concatenated_{number}")
        elif _padded_with(node):
            _pad_with_zeros(changed, node, f"_padded_{number}")

    changed.graph.lint()
    changed.recompile()
    return changed


def _constant(module: fx.GraphModule, node: fx.Node) -> torch.Tensor | None:
    """The tensor behind a parameter or buffer, also an expanded one (a class token for each sample), else None."""
    if node.target is aten.expand.default:
        return _constant(module, node.args[0]) if isinstance(node.args[0], fx.Node) else None
    return attribute(module, str(node.target)).detach() if node.op == "get_attr" else None


def _is_mixed(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a concatenation is not quantized itself and joins one computed tensor with constants, or a dequantized
    tensor with floats."""
    if node.target is not aten.cat.default or any(_QUANTIZE in str(user.target) for user in node.users):
        return False

    constants = [_constant(module, part) for part in node.args[0]]
    if len(constants) < 2 or not all(value.is_floating_point() for value in constants if value is not None):
        return False
    dequantized = [_is_dequantized(part) for part in node.args[0]]
    return sum(value is None for value in constants) == 1 or (any(dequantized) and not all(dequantized))


def _is_dequantized(node: fx.Node) -> bool:
    """Whether a value is dequantized, and then moved at most."""
    while str(node.target).removeprefix("aten.").partition(".")[0] in _MOVES or "getitem" in str(node.target):
        node = node.args[0]
        if not isinstance(node, fx.Node):
            return False
    return "quantized_decomposed.dequantize_per_" in str(node.target)


def _padded_with(node: fx.Node) -> float:
    """The number that a node pads floats with, 0 where it pads with zeros, by other values or not at all, or where only
    max-pooling reads it, whose padding the converter takes it for."""
    if node.users and all(user.target in _MAX_POOLS for user in node.users):
        return 0.0
    if node.target is aten.pad.default and (node.args[2:3] or [node.kwargs.get("mode")])[0] not in ("constant", None):
        return 0.0
    at = 3 if node.target is aten.pad.default else 2
    number = (node.args[at] if len(node.args) > at else node.kwargs.get("value")) if node.target in _PADS else None
    return float(number) if isinstance(number, (int, float)) else 0.0


def _pad_with_zeros(module: fx.GraphModule, node: fx.Node, name: str) -> None:
    pads, shape = list(node.args[1]), node.args[0].meta["tensor_meta"].shape
    border = torch.constant_pad_nd(torch.zeros(shape), pads, _padded_with(node))
    module.register_buffer(name, border, persistent=False)
    with module.graph.inserting_before(node):
        padded = module.graph.call_function(aten.constant_pad_nd.default, (node.args[0], pads, 0.0))
        total = module.graph.call_function(aten.add.Tensor, (padded, module.graph.get_attr(name)))
    node.replace_all_uses_with(total)
    module.graph.erase_node(node)


def _replace(module: fx.GraphModule, node: fx.Node, name: str) -> None:
    """The sum of the computed parts, each padded with zeros to the whole, and of one constant with the others."""
    parts, size = node.args[0], node.meta["tensor_meta"].shape
    constants = [_constant(module, part) for part in parts]
    axis = (node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)) % len(size)
    lengths = [part.meta["tensor_meta"].shape[axis] for part in parts]

    terms = []
    with module.graph.inserting_before(node):
        for i, part in enumerate(parts):
            pads = [0, 0] * (len(size) - 1 - axis) + [sum(lengths[:i]), sum(lengths[i + 1 :])]
            if constants[i] is None:
                terms.append(module.graph.call_function(aten.constant_pad_nd.default, (part, pads, 0.0)))
        if any(value is not None for value in constants):
            zeros = [torch.zeros(part.meta["tensor_meta"].shape) for part in parts]
            values = [zeros[i] if value is None else value.expand_as(zeros[i]) for i, value in enumerate(constants)]
            module.register_buffer(name, torch.cat(values, axis), persistent=False)
            terms.append(module.graph.get_attr(name))
        total = terms[0]
        for term in terms[1:]:
            total = module.graph.call_function(aten.add.Tensor, (total, term))

    node.replace_all_uses_with(total)
    module.graph.erase_node(node)
