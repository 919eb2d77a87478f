"""Learning classes of rows: cross-entropy and distillation as in `classify`; batches of rows, `light` and `strong` with
noise on the standardized columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ...core.errors import RecipeError, nearest
from ...inputs import columns
from ...learning import Learning, batches, rows, tensors
from ..classify.learning import class_weights, distill, loss, outputs, replace_head

#: noise in standard deviations of a column
NOISE = {"none": 0.0, "light": 0.02, "strong": 0.1}


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """How many numbers a row becomes."""
    return {"size": [int(dataset.facts["inputs"])], "channels": 1}


def augmentation(level: str) -> tensors.Augment | None:
    """A function of (rows, generator), or None for "none"; raises `RecipeError` for an unknown level."""
    if level not in NOISE:
        raise RecipeError(f"unknown augmentation {level!r}", where="train.augment", remedy=nearest(level, NOISE))
    if not NOISE[level]:
        return None

    def noisy(inputs: tensors.Inputs, rng: np.random.Generator) -> tensors.Inputs:
        (x,) = inputs
        return (x + NOISE[level] * torch.from_numpy(rng.standard_normal(tuple(x.shape), np.float32)),)

    return noisy


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches (rows, class numbers)."""
    return rows.source(columns.preprocess, split, spec, loading, augment=augmentation(loading.augment))


loader = batches.loader_of(_source)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """float32 (N, outputs) over `split` in order."""
    return tensors.predict(columns.preprocess, module, split, spec, batch_size, make=rows.source)


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=replace_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
    class_weights=class_weights,
)
