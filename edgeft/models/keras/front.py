"""Scaling at the beginning of a net becomes preprocessing, so that it happens once and costs nothing on the board."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx


def take_scaling(module: fx.GraphModule, channels: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Take the layers that compute x * scale + shift of the input off the graph, in place.

    Returns `scale` and `shift`, float64 (channels,), or None where the net does not begin so.
    """
    placeholder = next(node for node in module.graph.nodes if node.op == "placeholder")
    scale, shift = torch.ones(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    node, steps = placeholder, 0

    while len(node.users) == 1:
        user = next(iter(node.users))
        values = _constant(module, user, node, channels)
        if values is None:
            break
        if user.target is operator.add:
            shift = shift + values
        else:
            scale, shift = scale * values, shift * values
        node, steps = user, steps + 1

    if not steps or not bool((scale > 0).all()):
        return None

    node.replace_all_uses_with(placeholder)
    module.graph.eliminate_dead_code()
    module.recompile()
    return scale, shift


def _constant(module: fx.GraphModule, node: fx.Node, source: fx.Node, channels: int) -> torch.Tensor | None:
    """What a product or sum puts to `source`, float64 (channels,); None for another op or another kind of constant."""
    if node.op != "call_function" or node.target not in (operator.mul, operator.add) or len(node.args) != 2:
        return None

    other: Any = node.args[1] if node.args[0] is source else node.args[0]
    if isinstance(other, (int, float)):
        return torch.full((channels,), float(other), dtype=torch.float64)
    if not isinstance(other, fx.Node) or other.op != "get_attr":
        return None

    value = getattr(module, str(other.target)).detach().double()
    if value.numel() not in (1, channels) or (value.dim() == 4 and value.shape[1] != value.numel()):
        return None

    return value.reshape(-1).expand(channels).clone()
