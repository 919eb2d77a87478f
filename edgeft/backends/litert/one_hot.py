"""Comparisons of whole numbers with a list of them, cast to float: one-hot vectors.

LiteRT's converter makes an operator of its own of them and gives it the quantized type of what follows, which that
operator does not have. As a choice between 1 and 0 they stay what they are.
"""

from __future__ import annotations

import copy

import torch
from torch import fx

from ...graph.nodes import aten

_CASTS = {aten.to.dtype, aten._to_copy.default}


def as_choices(module: torch.nn.Module) -> torch.nn.Module:
    """The module with such casts as `where`; the same object where it has none. Its weights are shared."""
    if not isinstance(module, fx.GraphModule) or not any(_is_one_hot(node) for node in module.graph.nodes):
        return module

    changed = fx.GraphModule(module, copy.deepcopy(module.graph))
    for node in list(changed.graph.nodes):
        if _is_one_hot(node):
            with changed.graph.inserting_after(node):
                chosen = changed.graph.call_function(aten.where.Scalar, (node.args[0], 1.0, 0.0))
            node.replace_all_uses_with(chosen)
            changed.graph.erase_node(node)

    changed.graph.lint()
    changed.recompile()
    return changed


def _is_one_hot(node: fx.Node) -> bool:
    """Whether a node casts a comparison to float32."""
    if node.target not in _CASTS or not isinstance(node.args[0], fx.Node) or node.args[0].target is not aten.eq.Tensor:
        return False
    return torch.float32 in (*node.args[1:2], node.kwargs.get("dtype"))
