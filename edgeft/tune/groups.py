"""Parameter groups of the optimizer in quantization-aware training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


def qat_groups(module: nn.Module, lr: float, factors: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """Weights and biases in one group, logarithms of scales in another (no weight decay for either).

    `factors` multiply the rate of the parameters they name: a pair of groups for each (`unfreezing.decay_in_graph`).
    """
    group_of: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            key = ((factors or {}).get(name, 1.0), name.endswith("log_scale"))
            group_of.setdefault(key, []).append(parameter)

    order = sorted(group_of, key=lambda key: (-key[0], key[1]))
    return [{"params": group_of[key], "lr": lr * key[0], "weight_decay": 0.0} for key in order]
