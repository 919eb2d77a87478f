"""Learning what is normal: an autoencoder's mean squared error on normal rows; the output is what is left of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ...core.errors import ModelError
from ...inputs import columns
from ...learning import Learning, batches, rows
from ..tabular.learning import augmentation, model_args, predict


def outputs(dataset: Any) -> int:
    """As many as a row has numbers."""
    return int(dataset.facts["inputs"])


def set_head(module: nn.Module, head: str, n_outputs: int) -> None:
    """Raises `ModelError`: what an autoencoder rebuilds is as wide as what it reads."""
    raise ModelError(f"{type(module).__name__} has no head for {n_outputs} outputs", where=head)


def loss(left: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Mean square of what is left of rows (N, K); targets and `smoothing` have no meaning here."""
    return left.square().mean()


def distill(
    student: torch.Tensor,
    teacher: torch.Tensor,
    targets: torch.Tensor | None = None,
    temperature: float = 4.0,
    weight: float = 1.0,
) -> torch.Tensor:
    """The squared distance to what the teacher leaves, mixed with `loss` where `weight` is below 1."""
    soft = (student - teacher.detach()).square().mean()
    return soft if weight >= 1 or targets is None else weight * soft + (1 - weight) * loss(student, targets)


def _kinds(targets: Sequence[Any]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(target, np.float32) for target in targets]))


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches (rows, kinds float32 (N, 1))."""
    augment = augmentation(loading.augment)
    return rows.source(columns.preprocess, split, spec, loading, targets=_kinds, augment=augment)


loader = batches.loader_of(_source)

LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=set_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
)
