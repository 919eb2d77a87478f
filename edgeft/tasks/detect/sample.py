"""A picture with its true boxes for a page, and how many boxes of each class there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..record import LabelCounts
from . import decoding


def show(split: Any, i: int, labels: Sequence[str]) -> dict[str, Any]:
    """The picture with a box in the colour of its class around every true object; crowds are dashed in white."""
    raw, target = split.raw(i), split.targets[i]
    crowd = np.asarray(target["crowd"], bool)
    boxes = np.asarray(target["boxes"], np.float64).reshape(-1, 4)
    classes = np.asarray(target["classes"], np.int64)
    framed = [{"box": box, "class": int(k)} for box, k in zip(boxes[~crowd], classes[~crowd])]
    drawn = decoding.draw_beside(raw, {"boxes": framed}, {"boxes": boxes[crowd]})
    colours = decoding.COLOURS
    legend = {str(labels[k]): colours[k % len(colours)] for k in sorted({box["class"] for box in framed})}

    return {**drawn, "caption": decoding.describe(target, labels), "legend": legend}


def count(split: Any, labels: Sequence[str]) -> LabelCounts:
    """Boxes of each class, crowds left out."""
    counts = np.zeros(len(labels), np.int64)
    for target in split.targets:
        classes = np.asarray(target["classes"], np.int64)[~np.asarray(target["crowd"], bool)]
        counts += np.bincount(classes, minlength=len(labels))
    return LabelCounts("boxes", counts)
