"""Objectives: what learning needs of a task, in torch: the head, the loss, batches, augmentation. One file a task.

The same task's preprocessing, decoding and metric are numpy and live beside it; its record finds this half
(`Task.learning`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from .batches import Loader, Samples


class Objective(Protocol):
    """An objective module.

    A batch is (inputs, targets): inputs a tensor, or a tuple of them in the order of the model's. What a model says is
    a tensor, or a tuple of them.

    One whose targets are classes also has `weights(dataset, kind)` (C,) or None, and `weighted(dataset, kind)`: its
    loss with `train.class_weights` in it (`balance.py`).
    """

    def outputs(self, dataset: Any) -> int:
        """How many outputs the model's head has; raises `DataError` where the data gives nothing to learn."""
        ...

    def model_args(self, data: Any, dataset: Any) -> dict[str, Any]:
        """What the recipe's [data] and the data set say of the model's form, as arguments of its constructor."""
        ...

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

    @property
    def loader(self) -> Loader: ...

    def predict(
        self, module: nn.Module, split: Samples, spec: Mapping[str, Any], batch_size: int = 64
    ) -> np.ndarray | dict[str, np.ndarray]:
        """What the module says of a split, (N, ...), or {name: (N, ...)} where it has several outputs."""
        ...

    def groups(
        self,
        module: nn.Module,
        head: str,
        lr: float,
        head_lr: float = 0.0,
        weight_decay: float = 0.0,
        layer_decay: float = 1.0,
    ) -> list[dict[str, Any]]: ...
