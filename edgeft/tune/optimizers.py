"""The optimizer of a stage and its learning rate over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch


def make(name: str, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum for "sgd", else AdamW; groups without parameters are left out."""
    filled = [dict(g) for g in groups if g["params"]]
    if name == "sgd":
        return torch.optim.SGD(filled, lr=filled[0]["lr"], momentum=0.9, nesterov=True)
    return torch.optim.AdamW(filled, lr=filled[0]["lr"])


def rate(schedule: str, progress: float) -> float:
    """The learning-rate factor at `progress` in [0, 1]: cosine (Loshchilov & Hutter, 2017) after a short warm-up,
    step (a tenth at 60 % and again at 85 %), or constant."""
    if schedule == "cosine":
        warm = min(1.0, (progress + 1e-3) / 0.05)
        return warm * 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "step":
        return 0.1 ** ((progress >= 0.6) + (progress >= 0.85))
    return 1.0
