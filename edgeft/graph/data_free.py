"""Values that are the same for every sample: computed once, not once a sample.

Positions are often encoded by code that makes a tensor of the batch's size (`torch.zeros(B, H, W).cumsum(1)`,
`table.repeat(B, 1, 1)`). Such values depend on the size of the batch alone. Here they are computed for one sample and
broadcast where they meet the data: then they are constants, which converters fold.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .nodes import aten

#: make a tensor of the sizes in their first argument
_MADE = (aten.zeros.default, aten.ones.default, aten.full.default, aten.empty.memory_format)
#: broadcast their two arguments
ELEMENTWISE = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)


def one_row(module: fx.GraphModule) -> bool:
    """Compute what depends on the batch size alone for one sample; returns whether there was such a value."""
    graph = module.graph
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    sizes = [n for n in graph.nodes if n.target is aten.sym_size.int and n.args[0] in placeholders and n.args[1] == 0]
    if not sizes:
        return False

    rows: dict[fx.Node, None] = {}
    constants: set[fx.Node] = set()
    for node in graph.nodes:
        known = node.op == "get_attr" or (node.op == "call_function" and set(node.all_input_nodes) <= constants)
        if known and not _has_batch(node):
            constants.add(node)
        elif node.op == "call_function" and _of_batch_alone(node, rows, constants, sizes):
            rows[node] = None

    if not rows:
        return False

    for node in rows:
        one = dict.fromkeys(sizes, 1)
        node.args = fx.map_arg(node.args, lambda arg, one=one: one.get(arg, arg))
        node.meta["val"] = node.meta["val"].narrow(0, 0, 1)

    for node in rows:
        _broadcast(graph, node, [user for user in node.users if user not in rows], sizes[0])

    graph.eliminate_dead_code()
    graph.lint()
    module.recompile()
    return True


def _has_batch(node: fx.Node) -> bool:
    """Whether the value has a row a sample, and no other size of it depends on the batch."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or not value.dim() or isinstance(value.shape[0], int):
        return False
    return all(isinstance(size, int) for size in value.shape[1:])


def _of_batch_alone(node: fx.Node, rows: dict[fx.Node, None], constants: set[fx.Node], sizes: list[fx.Node]) -> bool:
    if not _has_batch(node):
        return False

    value = node.meta["val"]
    if node.target in _MADE:
        return node.args[0][0] in sizes and len(node.all_input_nodes) == 1

    inputs = node.all_input_nodes
    if node.target is aten.repeat.default and node.args[1] and node.args[1][0] in sizes:
        source = node.args[0]
        alone = source in constants and source.meta["val"].dim() == value.dim() and source.meta["val"].shape[0] == 1
        return alone and len(inputs) == 2

    return any(n in rows for n in inputs) and all(n in rows or n in sizes or n in constants for n in inputs)


def _broadcast(graph: fx.Graph, node: fx.Node, readers: list[fx.Node], size: fx.Node) -> None:
    """Readers that need a row a sample get one; elementwise ops with a value of the batch broadcast by themselves."""
    needing = [user for user in readers if not _broadcasts(user, node)]
    if not needing:
        return

    with graph.inserting_after(node):
        expanded = graph.call_function(aten.expand.default, (node, [size, *[-1] * (node.meta["val"].dim() - 1)]))

    expanded.meta.update(node.meta)
    for user in needing:
        user.replace_input_with(node, expanded)


def _broadcasts(user: fx.Node, node: fx.Node) -> bool:
    if user.target not in ELEMENTWISE or len(user.all_input_nodes) != 2:
        return False
    return all(
        other is node or (tuple(other.meta["val"].shape) == tuple(user.meta["val"].shape)) for other in user.args[:2]
    )


def expand_as(module: fx.GraphModule) -> None:
    """`gate.expand_as(x) * x` broadcasts without it; elsewhere it becomes an `expand` with sizes."""
    for node in list(module.graph.nodes):
        if node.target is not aten.expand_as.default:
            continue

        source, shape = node.args[0], tuple(node.meta["val"].shape)
        for user in list(node.users):
            others: list[Any] = [other for other in user.args[:2] if other is not node]
            same = [o for o in others if isinstance(o, fx.Node) and tuple(o.meta["val"].shape) == shape]
            if user.target in ELEMENTWISE and len(same) == 1:
                user.replace_input_with(node, source)

        before = (*[None] * (len(shape) - source.meta["val"].dim()), *source.meta["val"].shape)
        if all(a == b or isinstance(b, int) for a, b in zip(before, shape)):
            node.target = aten.expand.default
            node.args = (source, [-1 if a == b else b for a, b in zip(before, shape)])


def without_data(graph: fx.Graph) -> set[fx.Node]:
    """Nodes that no input of the graph reaches, sizes left out: constants, whatever computes them."""
    reached: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or (node.target is not aten.sym_size.int and reached & set(node.all_input_nodes)):
            reached.add(node)
    return set(graph.nodes) - reached
