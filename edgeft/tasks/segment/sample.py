"""A picture with its true mask for a page, and how many pixels each class has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...inputs import mask
from ..record import LabelCounts
from . import decoding

#: longest side in pixels of what is drawn, and masks of a split that are counted, spread evenly
DRAWN, COUNTED = 448, 200


def show(split: Any, i: int, labels: Sequence[str]) -> dict[str, Any]:
    """The picture beside the same picture under the colours of its mask; void keeps the picture's own colours."""
    raw, target = split.raw(i), split.targets[i]
    truth, pixels = np.asarray(target), np.asarray(raw)
    skip = -(-max(pixels.shape[:2]) // DRAWN)
    if truth.shape != pixels.shape[:2]:
        truth = mask.nearest(truth, (pixels.shape[0], pixels.shape[1]))

    covered = mask.overlay(pixels[::skip, ::skip], truth[::skip, ::skip], mask.VOID)
    plain = mask.overlay(pixels[::skip, ::skip], np.full_like(truth[::skip, ::skip], mask.VOID), mask.VOID)
    present = [int(k) for k in np.unique(truth) if k < len(labels)]
    colours = mask.colours(max(1, len(labels)))
    legend = {str(labels[k]): tuple(int(v) for v in colours[k]) for k in present}
    beside = np.concatenate([plain, covered], axis=1)

    return {"image": beside, "wide": True, "caption": decoding.describe(truth, labels), "legend": legend}


def count(split: Any, labels: Sequence[str]) -> LabelCounts:
    """Pixels of each class, in an even part of a large split."""
    counts = np.zeros(len(labels), np.int64)
    for i in np.unique(np.linspace(0, len(split) - 1, min(len(split), COUNTED)).astype(int)):
        numbers = np.asarray(split.targets[i])
        counts += np.bincount(numbers[numbers < len(labels)].ravel(), minlength=len(labels))
    return LabelCounts("pixels", counts)
