"""Learning keywords: cross-entropy and distillation as in `classify`, and augmentation of the features (`spectra.py`).

Shifts are of up to a tenth of the clip, masks of up to a fifth of its frames and a quarter of the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from ...core.errors import DataError
from ...inputs import sound
from ...learning import batches, spectra, tensors
from ...learning.groups import groups
from ..classify.learning import distill, loss, replace_head, weighted, weights
from ..classify.learning import outputs as classes
from . import decoding as keyword

__all__ = [
    "augmentation", "distill", "groups", "loader", "loss", "model_args", "outputs", "predict", "set_head",
    "weighted", "weights",
]  # fmt: skip

set_head = replace_head
#: the largest shift, and the largest masks, as shares of the axis
SHIFT, TIME_MASK, FEATURE_MASK = 0.1, 0.2, 0.25


def outputs(dataset: Any) -> int:
    """One logit a class; raises `DataError` for fewer than two, and for recordings with transcripts."""
    if dataset.facts.get("units"):
        raise DataError(
            "these recordings have transcripts, no classes",
            where=dataset.name,
            remedy='leave data.units out, or set task = "speech"',
        )
    return classes(dataset)


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """Features have one channel."""
    return {"channels": 1}


def augmentation(level: str, spec: Mapping[str, Any]) -> tensors.Augment | None:
    """A function of (inputs, generator), or None for "none"; raises `RecipeError` for an unknown level."""
    frames, features = _size(spec)
    shift = max(1, round(SHIFT * frames))
    time, feature = (max(1, int(share * n)) for share, n in ((TIME_MASK, frames), (FEATURE_MASK, features)))
    return spectra.augmentation(level, str(spec.get("layout", "NCHW")), spectra.Amounts(shift, time, feature))


def _size(spec: Mapping[str, Any]) -> tuple[int, int]:
    """Frames and features of a sound, or of a picture of them."""
    if spec["kind"] == "image":
        return int(spec["size"][0]), int(spec["size"][1])
    table = sound.check(spec)
    return table.frames, table.features


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches ((features,), class numbers int64 (N,)) of sounds, augmented by (seed, epoch, positions)."""
    return tensors.source(keyword.preprocess, split, spec, loading, augment=augmentation(loading.augment, spec))


loader = batches.loader_of(_source)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Logits float32 (N, C) over `split` in order."""
    return tensors.predict(keyword.preprocess, module, split, spec, batch_size)
