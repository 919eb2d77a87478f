"""Operators that stand for several others, as those others: some runtimes' converters have none of their own for them,
and others compute something else.

LiteRT's converter mixes up the values of `repeat_interleave`, of which shared heads of attention (`enable_gqa`) are
made, and its integer minimum is wrong.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .nodes import aten, set_attribute

#: repetitions of each element that a concatenation of as many parts may stand for
_MOST_COPIES = 64


def spell_out(module: fx.GraphModule) -> None:
    """Shared heads of attention, elements that are repeated, distances between vectors, minima, and one-hot vectors."""
    for node in list(module.graph.nodes):
        if node.target is aten.scaled_dot_product_attention.default and node.kwargs.get("enable_gqa"):
            _shared_heads(module.graph, node)
        elif node.target in (aten.cdist.default, aten._cdist_forward.default) and node.args[2:3] in ((), (2.0,)):
            _distances(module.graph, node)
        elif node.target is aten.amin.default:
            _minimum(module.graph, node)
        elif node.target is aten.one_hot.default:
            _one_hot(module, node)

    for node in list(module.graph.nodes):
        if node.target is aten.repeat_interleave.self_int:
            _repeated(module.graph, node)


def _call(graph: fx.Graph, place: fx.Node, op: Any, *args: Any) -> fx.Node:
    """A node before `place` that stands where `place` does for users, with its own shape."""
    new = graph.call_function(op, args)
    new.meta.update(place.meta)
    new.meta["val"] = op(*fx.map_arg(args, lambda node: node.meta["val"]))
    return new


def _shared_heads(graph: fx.Graph, node: fx.Node) -> None:
    """Keys and values (N, heads, tokens, d) once for each head of the queries that reads them."""
    query, *rest = node.args
    heads = query.meta["val"].shape[-3]
    with graph.inserting_before(node):
        for at, value in enumerate(rest[:2], 1):
            times = heads // value.meta["val"].shape[-3]
            if times > 1:
                node.update_arg(at, _call(graph, node, aten.repeat_interleave.self_int, value, times, -3))
    node.kwargs = {name: value for name, value in node.kwargs.items() if name != "enable_gqa"}


def _repeated(graph: fx.Graph, node: fx.Node) -> None:
    """Each element of an axis several times: copies along a new axis behind it, which is then part of it."""
    arguments = {"dim": None, **dict(zip(("self", "repeats", "dim"), node.args)), **node.kwargs}
    source, times, axis = (arguments[name] for name in ("self", "repeats", "dim"))
    if axis is None or not isinstance(times, int) or not 1 <= times <= _MOST_COPIES:
        return

    axis %= source.meta["val"].dim()
    with graph.inserting_before(node):
        if source.meta["val"].shape[axis] == 1:
            new = _call(graph, node, aten.cat.default, [source] * times, axis)
        else:
            apart = _call(graph, node, aten.unsqueeze.default, source, axis + 1)
            copies = _call(graph, node, aten.cat.default, [apart] * times, axis + 1)
            new = _call(graph, node, aten.flatten.using_ints, copies, axis, axis + 1)

    node.replace_all_uses_with(new)
    graph.erase_node(node)


def _distances(graph: fx.Graph, node: fx.Node) -> None:
    """Euclidean distances (..., P, R) of vectors (..., P, d) and (..., R, d)."""
    with graph.inserting_before(node):
        first = _call(graph, node, aten.unsqueeze.default, node.args[0], -2)
        second = _call(graph, node, aten.unsqueeze.default, node.args[1], -3)
        apart = _call(graph, node, aten.sub.Tensor, first, second)
        squares = _call(graph, node, aten.mul.Tensor, apart, apart)
        distance = _call(graph, node, aten.sqrt.default, _call(graph, node, aten.sum.dim_IntList, squares, [-1]))
    node.replace_all_uses_with(distance)
    graph.erase_node(node)


def _minimum(graph: fx.Graph, node: fx.Node) -> None:
    with graph.inserting_before(node):
        negative = _call(graph, node, aten.neg.default, node.args[0])
        least = _call(graph, node, aten.neg.default, _call(graph, node, aten.amax.default, negative, *node.args[1:]))
    node.replace_all_uses_with(least)
    graph.erase_node(node)


def _one_hot(module: fx.GraphModule, node: fx.Node) -> None:
    """A comparison with the classes, which checks nothing at run time; casts to float take it as it is."""
    classes = node.args[1] if len(node.args) > 1 else node.kwargs.get("num_classes", -1)
    if not isinstance(classes, int) or classes < 1:
        return

    graph, name = module.graph, f"{node.name}.classes"
    set_attribute(module, name, torch.arange(classes))
    with graph.inserting_before(node):
        numbers = graph.get_attr(name)
        numbers.meta.update(node.meta)
        numbers.meta["val"] = torch.empty(classes, dtype=torch.int64, device="meta")
        index = _call(graph, node, aten.unsqueeze.default, node.args[0], -1)
        equal = graph.call_function(aten.eq.Tensor, (index, numbers))
        equal.meta.update(node.meta)
        equal.meta["val"] = node.meta["val"].to(torch.bool)
        number = _call(graph, node, aten.to.dtype, equal, torch.int64)

    for user in list(node.users):
        cast = user.target is aten.to.dtype and user.args[1].is_floating_point
        user.replace_input_with(node, equal if cast else number)

    graph.erase_node(node)
