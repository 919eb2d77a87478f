"""Parameter groups: the head has its own rate, biases and norms are not decayed, low layers may have a lower rate."""

from __future__ import annotations

from typing import Any

from torch import nn

from .blocks import depths, under


def groups(
    module: nn.Module,
    head: str,
    lr: float,
    head_lr: float = 0.0,
    weight_decay: float = 0.0,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Optimizer groups {name, params, lr, weight_decay} over the parameters that require a gradient, each in one.

    Names are body, body_plain, head, head_plain; plain ones (vectors: biases, norms, scales) have no decay. A `head_lr`
    of 0 means `lr`. Groups without parameters are left out.

    With a `layer_decay` below 1 the body is parted by blocks (`blocks.py`), body_1 the highest: block k has the rate
    lr * layer_decay^k. Howard & Ruder, "Universal Language Model Fine-tuning" (2018) do so with 1/2.6, Clark et al.,
    "ELECTRA" (2020) and Bao et al., "BEiT" (2022) with 0.65 to 0.9.
    """
    depth = depths(module, head) if layer_decay != 1 else {}
    group_of: dict[str, dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue

        part, rate = ("head", head_lr or lr) if under(name, head) else ("body", lr)
        if part == "body" and depth:
            part, rate = f"body_{depth[name]}", lr * layer_decay ** depth[name]

        plain = parameter.ndim <= 1
        part += "_plain" if plain else ""
        if part not in group_of:
            group_of[part] = {"name": part, "params": [], "lr": rate, "weight_decay": 0.0 if plain else weight_decay}
        group_of[part]["params"].append(parameter)

    return [group_of[part] for part in sorted(group_of, key=_order)]


def _order(part: str) -> tuple[bool, int, bool]:
    """The body from the highest block down, then the head; weights before plain ones."""
    name, *rest = part.split("_")
    depth = int(rest[0]) if rest and rest[0].isdigit() else 0
    return name == "head", depth, part.endswith("_plain")
