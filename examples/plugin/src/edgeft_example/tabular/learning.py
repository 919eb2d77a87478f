"""The learning half, in torch: squared error in units of the target's standard deviation over the split.

A batch's targets are float32 (N, 2): the value, and that standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeft.core.errors import DataError, ModelError
from edgeft.learning import Learning, batches, tensors

from . import decoding


def outputs(dataset: Any) -> int:
    """One output; raises `DataError` where the target column never changes."""
    if not np.ptp(np.asarray(dataset.split("train").targets, np.float64)) > 0:
        raise DataError(f"the column {dataset.labels[0]!r} has one value only", where=dataset.name)
    return 1


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """No arguments: the model source reads the number of columns from the facts of the data."""
    return {}


def set_head(module: nn.Module, head: str, n_outputs: int) -> None:
    """Replace the linear layer `head` by a new one with `n_outputs` outputs; raises `ModelError` for another layer."""
    old = module.get_submodule(head)
    if not isinstance(old, nn.Linear):
        raise ModelError(f"the layer {head!r} is a {type(old).__name__}, expected a linear layer")
    parent, _, leaf = head.rpartition(".")
    setattr(module.get_submodule(parent), leaf, nn.Linear(old.in_features, n_outputs))


def loss(predictions: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Mean squared error of predictions (N, 1) in standard deviations; `smoothing` has no meaning here."""
    return ((predictions[:, 0] - targets[:, 0]) / targets[:, 1]).pow(2).mean()


def distill(
    student: torch.Tensor,
    teacher: torch.Tensor,
    targets: torch.Tensor | None = None,
    temperature: float = 4.0,
    weight: float = 1.0,
) -> torch.Tensor:
    """The distance to the teacher's predictions, mixed with `loss` where `weight` is below 1."""
    spread = 1.0 if targets is None else targets[:, 1:]
    soft = ((student - teacher.detach()) / spread).pow(2).mean()
    return soft if weight >= 1 or targets is None else weight * soft + (1 - weight) * loss(student, targets)


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    spread = float(np.std(np.asarray(split.targets, np.float64))) or 1.0

    def with_spread(targets: Sequence[Any]) -> torch.Tensor:
        values = np.asarray(targets, np.float32).reshape(-1)
        return torch.from_numpy(np.stack([values, np.full_like(values, spread)], axis=1))

    return tensors.source(decoding.preprocess, split, spec, loading, targets=with_spread)


loader = batches.loader_of(_source)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """float32 (N, 1): the predictions over `split` in order."""
    return tensors.predict(decoding.preprocess, module, split, spec, batch_size)


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=set_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
)
