"""Parameter groups: the new head learns at its own rate, and biases and norms are not decayed."""

from __future__ import annotations

from typing import Any

from torch import nn


def groups(
    module: nn.Module, head: str, lr: float, head_lr: float = 0.0, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Optimizer groups {name, params, lr, weight_decay} over the parameters that require a gradient, each in one.

    Names are body, body_plain, head, head_plain; plain ones (vectors: biases, norms, scales) have no decay. A `head_lr`
    of 0 means `lr`. Groups without parameters are left out.
    """
    made: dict[str, dict[str, Any]] = {}
    for part, rate in (("body", lr), ("head", head_lr or lr)):
        for suffix, decay in (("", weight_decay), ("_plain", 0.0)):
            made[part + suffix] = {"name": part + suffix, "params": [], "lr": rate, "weight_decay": decay}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            part = "head" if head and (name == head or name.startswith(f"{head}.")) else "body"
            made[part + ("_plain" if parameter.ndim <= 1 else "")]["params"].append(parameter)
    return [group for group in made.values() if group["params"]]
