"""Learning any outputs: squared error of the known values, each output in units of its own spread.

A batch's targets are float32 (N, 2, K): what is to be answered, all outputs flattened behind each other (NaN: not
known), and the standard deviation of each output over the split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from ...core.errors import DataError
from ...learning import Learning, batches, tensors
from . import decoding


def outputs(dataset: Any) -> int:
    """How many numbers a target has, 0 where there are none; raises `DataError` where they never change."""
    if dataset.unlabelled:
        return 0
    targets = np.asarray(dataset.split("train").targets)
    known = targets[:, np.isfinite(targets).any(axis=0)]
    if not (np.nanmax(known, axis=0) > np.nanmin(known, axis=0)).any():
        raise DataError("all targets are the same, so that no model can be trained on them", where=dataset.name)
    return int(targets.shape[1])


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """Nothing: the model is brought whole."""
    return {}


def set_head(module: nn.Module, head: str, size: int) -> None:
    """Nothing: the outputs of the model are what it is for."""


def flat(outputs: Any) -> torch.Tensor:
    """Outputs of a model as (N, K), those of several behind each other in their order."""
    leaves = tree_leaves(outputs)
    return torch.cat([leaf.float().reshape(len(leaf), -1) for leaf in leaves], dim=1)


def loss(outputs: Any, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Mean squared error of the known values, each output in units of its spread; `smoothing` has no meaning here.

    Raises `DataError` where the model gives another number of values than a target has.
    """
    return _squared(outputs, targets[:, 0], targets[:, 1])


def distill(
    student: Any, teacher: Any, targets: torch.Tensor | None = None, temperature: float = 4.0, weight: float = 1.0
) -> torch.Tensor:
    """The same distance to the teacher's outputs, mixed with the recorded ones where `weight` is below 1."""
    aim = flat(teacher).detach()
    soft = _squared(student, aim, torch.ones_like(aim) if targets is None else targets[:, 1])
    return soft if weight >= 1 or targets is None else weight * soft + (1 - weight) * loss(student, targets)


def _squared(outputs: Any, aim: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    values = flat(outputs)
    if values.shape != aim.shape:
        raise DataError(
            f"the model gives {values.shape[1]} values a sample, and a target has {aim.shape[1]}",
            where="targets",
            remedy="a target holds what the model gives, all outputs in their order",
        )

    known = torch.isfinite(aim)
    off = torch.where(known, values - torch.nan_to_num(aim), 0.0)

    parts, start = [], 0
    for leaf in tree_leaves(outputs):
        end = start + leaf[0].numel()
        unit = spread[0, start:end].square().mean()
        parts.append(off[:, start:end].square() / torch.where(unit > 0, unit, 1.0))
        start = end

    return torch.cat(parts, dim=1).sum() / known.sum().clamp(min=1)


class Scaled:
    """Targets of a batch and the standard deviation of each value over the split, float32 (N, 2, K)."""

    def __init__(self, targets: np.ndarray) -> None:
        known = np.asarray(targets, np.float32)
        ever = np.isfinite(known).any(axis=0)
        self.spread = np.zeros(known.shape[1:], np.float32)
        if known.ndim == 2:
            self.spread[ever] = np.nanstd(known[:, ever], axis=0)

    def __call__(self, targets: Sequence[Any]) -> torch.Tensor:
        values = np.stack([np.asarray(target, np.float32).reshape(-1) for target in targets])
        return torch.from_numpy(np.stack([values, np.broadcast_to(self.spread, values.shape)], axis=1))


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches of arrays or pictures; no augmentation, since a mirrored input asks for other outputs."""
    return tensors.source(decoding.preprocess, split, spec, loading, targets=Scaled(split.targets))


loader = batches.loader_of(_source)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Outputs float32 (N, ...) over `split` in order, {output_i: (N, ...)} of a model with several."""
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
