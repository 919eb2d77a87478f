"""Uneven classes: weights by which rare ones count as much as frequent ones. For any task that has classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..core.errors import RecipeError

#: `train.class_weights` -> the power of a class's inverse frequency
POWERS = {"balanced": 1.0, "root": 0.5}


def balanced(counts: Sequence[int] | np.ndarray, kind: str = "balanced") -> torch.Tensor:
    """float32 (C,): n / (C * count) of each class, so that every class has the same share of the loss.

    "root" takes the square root of that: rare classes gain, and are not called where they are not, which matters to a
    metric that counts false alarms (IoU).

    `counts` (C,) are how often each class occurs in training: samples, or pixels of a segmentation. The mean over what
    is counted is 1, so the loss keeps its size (King & Zeng, "Logistic regression in rare events data", 2001). A class
    that never occurs has weight 0.
    """
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    weights = np.divide(counts.sum(), max(1, present.sum()) * counts, out=np.zeros_like(counts), where=present)
    weights = np.where(present, weights ** POWERS[kind], 0.0)
    weights *= counts.sum() / max(float((weights * counts).sum()), 1e-12)

    return torch.from_numpy(weights.astype(np.float32))


def of_dataset(dataset: Any, kind: str) -> torch.Tensor | None:
    """Weights (C,) of a classifier's classes, by its training samples; None for "none".

    Raises `RecipeError` where the training targets are no classes.
    """
    if kind == "none":
        return None

    classes = dataset.split("train").classes
    if classes is None or not dataset.labels:
        raise no_classes("the data's targets are no classes")

    return balanced(np.bincount(classes, minlength=len(dataset.labels)), kind)


def no_classes(why: str) -> RecipeError:
    """The message where classes are to be weighed and there are none."""
    return RecipeError(f"train.class_weights: {why}", remedy="leave train.class_weights out")
