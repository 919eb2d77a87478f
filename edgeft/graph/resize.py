"""Resizing to the size that a value has already, and nearest-neighbour resizing to sizes that are no multiple.

The first changes no value, bicubic resizing included (it reads a pixel's own place alone there). The second takes the
rows and columns that torch takes, by their numbers: runtimes round the positions differently (LiteRT takes other rows
than torch for 14 -> 33), so the positions are computed here and become constants.
"""

from __future__ import annotations

import torch
from torch import fx

from .nodes import aten, set_attribute

_NEAREST = (
    aten.upsample_nearest2d.vec,
    aten.upsample_nearest2d.default,
    aten._upsample_nearest_exact2d.vec,
    aten._upsample_nearest_exact2d.default,
)

_ALL = (
    *_NEAREST,
    aten.upsample_bilinear2d.vec,
    aten.upsample_bilinear2d.default,
    aten.upsample_bicubic2d.vec,
    aten.upsample_bicubic2d.default,
)


def same_size(module: fx.GraphModule) -> None:
    """Leave out a resizing whose result has the size of its input."""
    for node in list(module.graph.nodes):
        if node.target in _ALL and tuple(node.args[0].meta["val"].shape) == tuple(node.meta["val"].shape):
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)


def nearest(module: fx.GraphModule) -> None:
    """Resizing by a whole factor, up or down, keeps its op."""
    for node in list(module.graph.nodes):
        if node.target not in _NEAREST:
            continue

        before, after = node.args[0].meta["val"].shape[2:], node.meta["val"].shape[2:]
        if not all(isinstance(size, int) for size in (*before, *after)):
            continue
        if all(new % old == 0 or old % new == 0 for old, new in zip(before, after)):
            continue

        value = node.args[0]
        for axis, (old, new) in enumerate(zip(before, after), 2):
            if old != new:
                value = _taken(module, node, value, axis, (int(before[0]), int(before[1])))
        node.replace_all_uses_with(value)
        module.graph.erase_node(node)


def _taken(module: fx.GraphModule, node: fx.Node, value: fx.Node, axis: int, size: tuple[int, int]) -> fx.Node:
    """Along `axis`, what the op takes of a map that holds the positions."""
    positions = torch.arange(size[axis - 2], dtype=torch.float32).view([1, 1, -1, 1] if axis == 2 else [1, 1, 1, -1])
    resized = node.target(positions.expand(1, 1, *size), *node.args[1:], **node.kwargs)
    indices = resized.select(5 - axis, 0).flatten().round().long()

    name = f"{node.name}.positions_{axis}"
    set_attribute(module, name, indices)
    with module.graph.inserting_before(node):
        constant = module.graph.get_attr(name)
        taken = module.graph.call_function(aten.index_select.default, (value, axis, constant))

    constant.meta["val"] = indices
    taken.meta.update(node.meta)
    shape = list(value.meta["val"].shape)
    shape[axis] = len(indices)
    taken.meta["val"] = value.meta["val"].new_empty(shape)

    return taken
