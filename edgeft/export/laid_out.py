"""Weights of a tail's convolutions as its training step computes with them: (kh, kw, C, O), places of the kernel first.

In torch's order (O, C, kh, kw) every step would turn them over, and their gradients back: a tenth of its time.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import fx

from .cut import Cut

#: torch's order from the step's, and the other way round
TO_TORCH, FROM_TORCH = (3, 2, 0, 1), (2, 3, 1, 0)


def laid_out(made: Cut, head: str) -> Cut:
    """The cut with such weights as parameters; those of the layer `head`, whose rows are classes, stay as they are."""
    tail = fx.GraphModule(made.tail, made.tail.graph)
    holders = [node for node in tail.graph.nodes if node.op == "placeholder"]
    parameters = dict(made.parameters)
    for name, holder in zip(parameters, holders[len(made.latents) :]):
        if name.rpartition(".")[0] == head or not _only_of_convolutions(holder):
            continue
        parameters[name] = parameters[name].permute(FROM_TORCH).contiguous()
        with tail.graph.inserting_before(holders[-1].next):
            turned = tail.graph.call_function(torch.ops.aten.permute.default, (holder, list(TO_TORCH)))
        holder.replace_all_uses_with(turned, delete_user_cb=lambda user, own=turned: user is not own)
    tail.graph.lint()
    tail.recompile()
    return dataclasses.replace(made, tail=tail, parameters=parameters)


def _only_of_convolutions(weight: fx.Node) -> bool:
    """Whether all that uses it are convolutions in one group, as their weight."""
    return bool(weight.users) and all(
        user.target is torch.ops.aten.conv2d.default
        and [n for n, given in enumerate(user.args) if given is weight] == [1]
        and (user.args[6] if len(user.args) > 6 else user.kwargs.get("groups", 1)) == 1
        for user in weight.users
    )


def merged(graph: fx.GraphModule) -> None:
    """Make one permutation of two in a row, and none of those that leave everything where it is. In place."""
    permute = torch.ops.aten.permute.default
    for node in list(graph.graph.nodes):
        if node.target is not permute:
            continue
        source, order = node.args
        order = [axis % len(order) for axis in order]
        if isinstance(source, fx.Node) and source.target is permute:
            inner = [axis % len(order) for axis in source.args[1]]
            source, order = source.args[0], [inner[axis] for axis in order]
        node.args = (source, order)
        if order == sorted(order):
            node.replace_all_uses_with(source)
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
