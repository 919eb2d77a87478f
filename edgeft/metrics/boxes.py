"""Boxes from the outputs of a detector with cells: decoding, non-maximum suppression, overlaps. Numpy only.

Such a detector hands out, level by level from the finest, class logits (N, C, h, w) and boxes (N, 4, h, w), as outputs
that are numbered in that order. The finest level has stride 8. A cell's box has its centre at (cell + 0.5 + offset) *
stride and the sides 4 * stride * exp(value), in pixels of the network's input: (dx, dy, log w, log h). Offsets and
logarithms are of one size, whatever the object's size is: one quantization grid serves all four.

Boxes of more channels, (N, 4 * bins, h, w), are distributions (Li et al. 2020, Generalized Focal Loss): for each of
left, top, right and bottom the logits of the distances 0, 1, ... bins - 1 strides from the cell's centre (cell + 0.5);
the expected distance counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.errors import BundleError
from .box_form import BoxForm, Steps, in_order

#: pixels of the network's input that a cell of the finest level stands for
STRIDE = 8
#: sides of a box whose logarithms are 0, in strides
SIDES = 4.0
#: boxes of one class that overlap more than this are one object
NMS_IOU = 0.6
#: so many of the best candidates of a picture are looked at, and so many boxes are kept
CANDIDATES, MOST = 1000, 100
_MAX_LOG = 6.0


@dataclass(frozen=True)
class Level:
    """Outputs of one stride: `logits` (N, C, h, w), the output called `name`, and `boxes` (N, 4, h, w) or
    (N, 4 * bins, h, w)."""

    logits: np.ndarray
    boxes: np.ndarray
    stride: int
    name: str


def levels(outputs: Mapping[str, np.ndarray]) -> list[Level]:
    """The outputs by level, finest first; raises `BundleError` for outputs that no detector of this kind has."""
    names = in_order(outputs)
    shapes = ", ".join(f"{name} {list(np.shape(outputs[name]))}" for name in names)
    fault = BundleError(
        f"are {shapes or 'none'}; expected class logits (samples, classes, h, w) and boxes (samples, 4, h, w), or 4 * "
        "bins of distances, by turns, from the finest level",
        where="graphs.outputs",
    )

    if not names or len(names) % 2:
        raise fault

    pyramid: list[Level] = []
    for first, second in zip(names[::2], names[1::2]):
        logits, boxes = np.asarray(outputs[first]), np.asarray(outputs[second])
        if logits.ndim != 4 or boxes.ndim != 4 or boxes.shape[1] % 4 or logits.shape[2:] != boxes.shape[2:]:
            raise fault
        if not boxes.shape[1] or (pyramid and pyramid[0].boxes.shape[1] != boxes.shape[1]):
            raise fault

        stride = STRIDE * pyramid[0].logits.shape[2] // logits.shape[2] if pyramid else STRIDE
        if pyramid and (logits.shape[:2] != pyramid[0].logits.shape[:2] or stride < pyramid[-1].stride):
            raise fault
        pyramid.append(Level(logits, boxes, stride, first))

    return pyramid


def input_size(pyramid: list[Level]) -> tuple[int, int]:
    """Height and width of the network's input in pixels."""
    return pyramid[0].logits.shape[2] * STRIDE, pyramid[0].logits.shape[3] * STRIDE


def cells(pyramid: list[Level], i: int) -> tuple[np.ndarray, np.ndarray]:
    """All cells of sample `i`: logits float64 (A, C) and boxes float64 (A, 4) x1 y1 x2 y2 in input pixels."""
    logits, boxes = [], []
    for level in pyramid:
        _, classes, h, w = level.logits.shape
        logits.append(level.logits[i].reshape(classes, -1).T.astype(np.float64))
        values = level.boxes[i].reshape(4, -1, h * w).astype(np.float64)
        y, x = np.divmod(np.arange(h * w), w)
        if values.shape[1] > 1:
            left, top, right, bottom = distances(values)
            corners = np.stack([x + 0.5 - left, y + 0.5 - top, x + 0.5 + right, y + 0.5 + bottom], axis=1)
            boxes.append(corners * level.stride)
            continue

        values = values[:, 0]
        cx, cy = (x + 0.5 + values[0]) * level.stride, (y + 0.5 + values[1]) * level.stride
        half = 0.5 * SIDES * level.stride * np.exp(np.clip(values[2:], -_MAX_LOG, _MAX_LOG))
        boxes.append(np.stack([cx - half[0], cy - half[1], cx + half[0], cy + half[1]], axis=1))

    return np.concatenate(logits), np.concatenate(boxes)


def distances(logits: np.ndarray) -> np.ndarray:
    """Expected distances (4, A) in strides of distributions (4, bins, A)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    bins = np.arange(logits.shape[1]).reshape(1, -1, 1)
    return np.asarray((powers * bins).sum(axis=1) / powers.sum(axis=1))


def suppress(boxes: np.ndarray, kinds: np.ndarray, iou: float) -> np.ndarray:
    """Positions of the boxes that stay, of boxes (K, 4) sorted best first with their classes (K,)."""
    survivors: list[int] = []
    alive = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        survivors.append(i)
        later = np.flatnonzero(alive[i + 1 :] & (kinds[i + 1 :] == kinds[i])) + i + 1
        if len(later):
            alive[later[overlaps(boxes[i : i + 1], boxes[later])[0] > iou]] = False

    return np.asarray(survivors, np.int64)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (K, 4) and (M, 4): (K, M) in 0..1."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1) for b in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared

    return np.asarray(np.where(union > 0, shared / np.maximum(union, 1e-12), 0.0))


def _fits(outputs: Mapping[str, np.ndarray]) -> bool:
    try:
        return bool(levels(outputs))
    except BundleError:
        return False


def _counts(outputs: Mapping[str, np.ndarray]) -> tuple[int, int]:
    samples, classes = levels(outputs)[0].logits.shape[:2]
    return int(samples), int(classes)


def _units(outputs: Mapping[str, np.ndarray], steps: Steps) -> np.ndarray:
    """The LSB of its level's class logits, for each cell (A,)."""
    pyramid = levels(outputs)
    sizes = [level.logits.shape[2] * level.logits.shape[3] for level in pyramid]
    return np.repeat([float(np.max(steps[level.name])) for level in pyramid], sizes)


PYRAMID = BoxForm(
    "pyramid",
    _fits,
    _counts,
    lambda outputs, i: cells(levels(outputs), i),
    lambda outputs: input_size(levels(outputs)),
    _units,
    NMS_IOU,
)
