"""Concatenations in float of a dequantized tensor with constants, as sums: a class token before the patches. Likewise
padding with another number than zero: the column of ones from which linear attention has its denominator.

LiteRT's converter moves the dequantization behind such an op and rounds the constants to the grid of the other tensor,
whose range may be a hundred times theirs: it computes something else than the graph. Padded with zeros and added to a
constant, the same values come out in float.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import fx
from torch.fx.passes.shape_prop import ShapeProp

from ...graph.nodes import aten, attribute

_QUANTIZE = "quantized_decomposed.quantize_per_"
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
    """Whether a concatenation joins one computed tensor with constants and is not quantized itself."""
    if node.target is not aten.cat.default or any(_QUANTIZE in str(user.target) for user in node.users):
        return False

    constants = [_constant(module, part) for part in node.args[0]]
    floats = all(value.is_floating_point() for value in constants if value is not None)
    return floats and len(constants) > 1 and sum(value is None for value in constants) == 1


def _padded_with(node: fx.Node) -> float:
    """The number that a node pads floats with, 0 where it pads with zeros, by other values or not at all."""
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
    parts = node.args[0]
    constants = [_constant(module, part) for part in parts]
    at = next(i for i, value in enumerate(constants) if value is None)
    size = parts[at].meta["tensor_meta"].shape
    axis = (node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)) % len(size)
    before = sum(value.shape[axis] for value in constants[:at] if value is not None)
    after = sum(value.shape[axis] for value in constants[at + 1 :] if value is not None)

    shape = list(next(value.shape for value in constants if value is not None))
    shape[axis] = size[axis]
    values = [value if value is not None else torch.zeros(shape) for value in constants]
    module.register_buffer(name, torch.cat(values, axis), persistent=False)
    with module.graph.inserting_before(node):
        pads = [0, 0] * (len(size) - 1 - axis) + [before, after]
        padded = module.graph.call_function(aten.constant_pad_nd.default, (parts[at], pads, 0.0))
        total = module.graph.call_function(aten.add.Tensor, (padded, module.graph.get_attr(name)))
    node.replace_all_uses_with(total)
    module.graph.erase_node(node)
