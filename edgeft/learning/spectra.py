"""Augmentation of normalized features of sounds (N, 1, frames, features), for every task that hears.

none | light (shifted in time, a little noise) | strong (more noise, and masks in time and over features as SpecAugment
has them, Park et al. 2019; a masked value is the mean, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..core.errors import RecipeError, nearest
from . import tensors

LEVELS = ("none", "light", "strong")
#: in standard deviations of a feature
NOISE = {"light": 0.1, "strong": 0.2}


@dataclass(frozen=True)
class Amounts:
    """The largest shift and the largest masks, in frames and features, and how many masks of each there are."""

    shift: int
    time: int
    feature: int
    masks: int = 1


def augmentation(level: str, layout: str, amounts: Amounts) -> tensors.Augment | None:
    """A function of (inputs, generator), or None for "none"; raises `RecipeError` for an unknown level."""
    if level not in LEVELS:
        raise RecipeError(f"unknown augmentation {level!r}", where="train.augment", remedy=nearest(level, LEVELS))
    if level == "none":
        return None

    axis = _time_axis(layout)

    def apply(inputs: tensors.Inputs, rng: np.random.Generator) -> tensors.Inputs:
        (x,) = inputs
        frames = x.shape[axis]
        values = x.movedim((axis, axis + 1), (1, 2)).numpy()  # (N, frames, features, 1)
        shift = rng.integers(-amounts.shift, amounts.shift + 1, len(values))

        # frames that are shifted in repeat the first or last one
        at = np.clip(np.arange(frames) - shift[:, None], 0, frames - 1)
        warped = np.take_along_axis(values, at[:, :, None, None], axis=1)
        warped = warped + NOISE[level] * rng.standard_normal(warped.shape, dtype=np.float32)
        if level == "strong":
            _mask(warped, rng, amounts)

        return (torch.from_numpy(warped).movedim((1, 2), (axis, axis + 1)).contiguous(),)

    return apply


def masking(layout: str, amounts: Amounts) -> tensors.Augment:
    """A function of (inputs, generator) that masks and does nothing else (no shift, no noise)."""
    axis = _time_axis(layout)

    def apply(inputs: tensors.Inputs, rng: np.random.Generator) -> tensors.Inputs:
        (x,) = inputs
        masked = x.movedim((axis, axis + 1), (1, 2)).numpy().copy()
        _mask(masked, rng, amounts)
        return (torch.from_numpy(masked).movedim((1, 2), (axis, axis + 1)).contiguous(),)

    return apply


def _time_axis(layout: str) -> int:
    """The axis of the frames; that of the features follows it."""
    return 2 if layout == "NCHW" else 1


def _mask(values: np.ndarray, rng: np.random.Generator, amounts: Amounts) -> None:
    """Mask `values` (N, frames, features, ...) in place."""
    for _ in range(amounts.masks):
        values[_spans(rng, len(values), values.shape[1], amounts.time)] = 0
        values.swapaxes(1, 2)[_spans(rng, len(values), values.shape[2], amounts.feature)] = 0


def _spans(rng: np.random.Generator, n: int, length: int, most: int) -> np.ndarray:
    """Bool (n, length): one run of True a row, of a random width up to `most`, at a random place."""
    width = rng.integers(0, min(most, length) + 1, n)
    start = rng.integers(0, length - width + 1)
    at = np.arange(length)
    return (at >= start[:, None]) & (at < (start + width)[:, None])
