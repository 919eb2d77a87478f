"""Padding by mirrored or repeated values without a batch axis, which LiteRT's converter cannot transpose.

torch takes an array with one axis more than is padded as one sample ((C, H, W) with four numbers). The converter counts
on a batch before it; here it gets one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import fx
from torch.fx.passes.shape_prop import ShapeProp

from ...graph.nodes import aten

_BY_AXES = {
    aten.reflection_pad1d.default,
    aten.reflection_pad2d.default,
    aten.reflection_pad3d.default,
    aten.replication_pad1d.default,
    aten.replication_pad2d.default,
    aten.replication_pad3d.default,
}


def with_batch(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> torch.nn.Module:
    """The module with a batch of one around such pads; the same object where it has none.

    `example` are inputs of the module; its weights are shared with the result.
    """
    if not isinstance(module, fx.GraphModule) or not any(_may_be(node) for node in module.graph.nodes):
        return module

    changed = fx.GraphModule(module, copy.deepcopy(module.graph))
    with torch.no_grad():
        ShapeProp(changed).propagate(*example)

    for node in list(changed.graph.nodes):
        if not _may_be(node) or len(node.args[0].meta["tensor_meta"].shape) != len(node.args[1]) // 2 + 1:
            continue
        with changed.graph.inserting_before(node):
            batch = changed.graph.call_function(aten.unsqueeze.default, (node.args[0], 0))
        node.args = (batch, *node.args[1:])
        with changed.graph.inserting_after(node):
            alone = changed.graph.call_function(aten.squeeze.dims, (node, [0]))
        node.replace_all_uses_with(alone, delete_user_cb=lambda user, alone=alone: user is not alone)

    changed.graph.lint()
    changed.recompile()
    return changed


def _may_be(node: fx.Node) -> bool:
    """Whether a node pads by other values than a constant."""
    mode = node.args[2] if len(node.args) > 2 else node.kwargs.get("mode", "constant")
    return node.target in _BY_AXES or (node.target is aten.pad.default and mode != "constant")
