"""Learning keywords: cross-entropy and distillation as in `classify`, and augmentation of the features.

Augmentation works on normalized features (N, 1, frames, features), which are kept once computed:

none | light (shifted in time by up to a tenth, a little noise) | strong (more noise, and one mask in time and one over
features as SpecAugment has them, Park et al. 2019; a masked value is the mean, 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import RecipeError, nearest
from ..tasks import keyword
from . import batches, tensors
from .classify import distill, loss, outputs, replace_head, weighted, weights
from .groups import groups

__all__ = [
    "augmentation", "distill", "groups", "loader", "loss", "model_args", "outputs", "predict", "set_head",
    "weighted", "weights",
]  # fmt: skip

set_head = replace_head
LEVELS = ("none", "light", "strong")
#: the largest shift, and the largest masks, as shares of the axis; noise in standard deviations of a feature
SHIFT, TIME_MASK, FEATURE_MASK = 0.1, 0.2, 0.25
NOISE = {"light": 0.1, "strong": 0.2}


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """Features have one channel."""
    return {"channels": 1}


def augmentation(level: str, layout: str = "NCHW") -> tensors.Augment | None:
    """A function of (inputs, generator), or None for "none"; raises `RecipeError` for an unknown level."""
    if level not in LEVELS:
        raise RecipeError(f"unknown augmentation {level!r}", where="train.augment", remedy=nearest(level, LEVELS))
    if level == "none":
        return None
    time = 2 if layout == "NCHW" else 1

    def apply(inputs: tensors.Inputs, rng: np.random.Generator) -> tensors.Inputs:
        (x,) = inputs
        frames, features = x.shape[time], x.shape[time + 1]
        values = x.movedim((time, time + 1), (1, 2)).numpy()  # (N, frames, features, 1)
        most = max(1, round(SHIFT * frames))
        shift = rng.integers(-most, most + 1, len(values))
        # frames that are shifted in repeat the first or last one
        at = np.clip(np.arange(frames) - shift[:, None], 0, frames - 1)
        made = np.take_along_axis(values, at[:, :, None, None], axis=1)
        made = made + NOISE[level] * rng.standard_normal(made.shape, dtype=np.float32)
        if level == "strong":
            made[_spans(rng, len(made), frames, TIME_MASK)] = 0
            made.swapaxes(1, 2)[_spans(rng, len(made), features, FEATURE_MASK)] = 0
        return (torch.from_numpy(made).movedim((1, 2), (time, time + 1)).contiguous(),)

    return apply


def _spans(rng: np.random.Generator, n: int, length: int, share: float) -> np.ndarray:
    """Bool (n, length): one run of True a row, of a random width up to `share` of the length, at a random place."""
    width = rng.integers(0, max(1, int(share * length)) + 1, n)
    start = rng.integers(0, length - width + 1)
    at = np.arange(length)
    return (at >= start[:, None]) & (at < (start + width)[:, None])


def loader(
    split: batches.Samples,
    spec: Mapping[str, Any],
    batch_size: int,
    augment: str = "none",
    seed: int = 0,
    workers: int = 0,
    shuffle: bool = False,
    drop_last: bool = False,
) -> batches.Batches:
    """Batches ((features,), class numbers int64 (N,)) of sounds, augmented by (seed, epoch, positions)."""
    return tensors.loader(
        keyword.preprocess,
        split,
        spec,
        batch_size,
        augment=augmentation(augment, str(spec.get("layout", "NCHW"))),
        seed=seed,
        workers=workers,
        shuffle=shuffle,
        drop_last=drop_last,
    )


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Logits float32 (N, C) over `split` in order."""
    return tensors.predict(keyword.preprocess, module, split, spec, batch_size)
