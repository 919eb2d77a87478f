"""Objectives: what learning needs of a task, in torch: the head, the loss, batches, augmentation. One file a task.

The same task's preprocessing, decoding and metric are numpy and live in `edgeft/tasks/` under the same name.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from ..errors import UsageError, nearest
from .batches import Batches, Samples

BUILTIN = ("classify",)


class Objective(Protocol):
    """An objective module."""

    def set_head(self, module: nn.Module, head: str, n_classes: int) -> None: ...

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor: ...

    def distill(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor,
        targets: torch.Tensor | None = None,
        temperature: float = 4.0,
        weight: float = 1.0,
    ) -> torch.Tensor: ...

    def loader(
        self,
        split: Samples,
        spec: Mapping[str, Any],
        batch_size: int,
        augment: str = "none",
        seed: int = 0,
        workers: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
    ) -> Batches: ...

    def predict(
        self, module: nn.Module, split: Samples, spec: Mapping[str, Any], batch_size: int = 64
    ) -> np.ndarray: ...

    def groups(
        self, module: nn.Module, head: str, lr: float, head_lr: float = 0.0, weight_decay: float = 0.0
    ) -> list[dict[str, Any]]: ...


def get(name: str) -> Objective:
    """The objective module called `name`; raises `UsageError` with the nearest known name."""
    if name in BUILTIN:
        return importlib.import_module(f".{name}", __package__)  # type: ignore[return-value]
    raise UsageError(f"nothing can be trained for the task {name!r}", remedy=nearest(name, BUILTIN))
