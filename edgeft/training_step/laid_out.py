"""A tail's parameters as its training step computes with them.

Weights of convolutions are (kh, kw, C, O), places of the kernel first: in torch's order (O, C, kh, kw) every step would
turn them over, and their gradients back, which is a tenth of its time. Layers whose rows have factors (`channels.py`)
have their values in real units: divided by a factor they would be trained faster than the others by its square.
"""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import fx

from ..graph.nodes import attribute
from .cut import FACTOR, Cut

#: torch's order from the step's, and the other way round
TO_TORCH, FROM_TORCH = (3, 2, 0, 1), (2, 3, 1, 0)


def in_real_units(original: Cut) -> Cut:
    """The cut without factors behind trainable linear layers: weight and bias hold them instead."""
    tail = copy.deepcopy(original.tail)
    holders = [node for node in tail.graph.nodes if node.op == "placeholder"][len(original.latents) :]
    name_of = dict(zip(holders, original.parameters))
    parameters = dict(original.parameters)

    for node in list(tail.graph.nodes):
        if not node.meta.get(FACTOR) or node.target is not torch.ops.aten.mul.Tensor:
            continue

        layer, factor = node.args
        if layer.target is not torch.ops.aten.linear.default or len(layer.users) > 1:
            continue

        arguments = layer.args[1:]
        if not all(argument in name_of and len(argument.users) == 1 for argument in arguments if argument is not None):
            continue

        by = attribute(tail, str(factor.target))
        for argument in arguments:
            if argument is not None:
                value = parameters[name_of[argument]]
                parameters[name_of[argument]] = value * by.reshape(-1, *[1] * (value.dim() - 1))

        for last in [user for user in node.users if user.meta.get(FACTOR)]:
            parameters[name_of[arguments[1]]] = parameters[name_of[arguments[1]]] + attribute(
                tail, str(last.args[1].target)
            )
            last.replace_all_uses_with(node)
            tail.graph.erase_node(last)

        node.replace_all_uses_with(layer)
        tail.graph.erase_node(node)

    tail.graph.eliminate_dead_code()
    tail.graph.lint()
    tail.recompile()
    return dataclasses.replace(original, tail=tail, parameters=parameters)


def laid_out(original: Cut, head: str) -> Cut:
    """The cut with such weights as parameters; those of the layer `head`, whose rows are classes, stay as they are."""
    tail = copy.deepcopy(original.tail)
    holders = [node for node in tail.graph.nodes if node.op == "placeholder"]
    parameters = dict(original.parameters)

    for name, holder in zip(parameters, holders[len(original.latents) :]):
        if name.rpartition(".")[0] == head or not _only_of_convolutions(holder):
            continue
        parameters[name] = parameters[name].permute(FROM_TORCH).contiguous()
        with tail.graph.inserting_before(holders[-1].next):
            turned = tail.graph.call_function(torch.ops.aten.permute.default, (holder, list(TO_TORCH)))
        holder.replace_all_uses_with(turned, delete_user_cb=lambda user, exempt=turned: user is not exempt)

    tail.graph.lint()
    tail.recompile()
    return dataclasses.replace(original, tail=tail, parameters=parameters)


def _only_of_convolutions(weight: fx.Node) -> bool:
    """Whether all that uses it are convolutions in one group, as their weight."""
    return bool(weight.users) and all(
        user.target is torch.ops.aten.conv2d.default
        and [n for n, argument in enumerate(user.args) if argument is weight] == [1]
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
