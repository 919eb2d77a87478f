"""Augmentation of image batches by kornia, drawn from a seed: the same batch and seed give the same pictures.

none | light (small shifts, turns and scales: safe for digits and text) | strong (also mirrored, other colours, patches
erased: for photographs).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..core.errors import RecipeError, nearest, need

LEVELS = ("none", "light", "strong")
Augment = Callable[[torch.Tensor], torch.Tensor]


def make(level: str, channels: int) -> Augment | None:
    """A function of pictures float32 (N, C, H, W) in 0..1, drawing from torch's global generator; None for "none".

    Raises `RecipeError` for an unknown level and `Missing` without kornia.
    """
    if level not in LEVELS:
        raise RecipeError(f"unknown augmentation {level!r}", where="train.augment", remedy=nearest(level, LEVELS))
    if level == "none":
        return None

    kornia = need("kornia.augmentation", "tune")
    # edges are repeated, not filled with black: black is no neutral colour for most data
    steps = [kornia.RandomAffine(degrees=8.0, translate=(0.08, 0.08), scale=(0.92, 1.08), padding_mode="border", p=0.9)]

    if level == "strong":
        steps.append(kornia.RandomHorizontalFlip(p=0.5))
        if channels == 3:
            steps.append(kornia.ColorJitter(0.2, 0.2, 0.2, 0.03, p=0.8))
        else:
            steps += [kornia.RandomBrightness((0.8, 1.2), p=0.8), kornia.RandomContrast((0.8, 1.2), p=0.8)]
        steps.append(kornia.RandomErasing(scale=(0.02, 0.15), p=0.25))

    augmentation: Augment = kornia.AugmentationSequential(*steps, data_keys=["input"])
    return augmentation


def apply(augment: Augment, pixels: torch.Tensor, seed: int) -> torch.Tensor:
    """`augment(pixels)` with its own random state; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return augment(pixels).clamp(0, 1)
