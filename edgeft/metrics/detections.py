"""Boxes of a picture from a detector's raw outputs, whatever their form. Numpy only."""

from __future__ import annotations

import numpy as np

from ..core.errors import BundleError
from .box_form import BoxForm, Outputs
from .box_sets import SET
from .boxes import CANDIDATES, MOST, PYRAMID, suppress

#: the forms of outputs that are known
FORMS = (PYRAMID, SET)


def form_of(outputs: Outputs) -> BoxForm:
    """The form of the outputs; raises `BundleError` for outputs that no detector has."""
    for form in FORMS:
        if form.fits(outputs):
            return form

    shapes = ", ".join(f"{name} {list(np.shape(array))}" for name, array in outputs.items())
    raise BundleError(
        f"are {shapes or 'none'}; expected class logits (samples, classes, h, w) and boxes (samples, 4, h, w), or 4 * "
        "bins of distances, by turns, from the finest level; or a set: class logits (samples, queries, classes), "
        'logits of "no object" (samples, queries, 1) where a softmax needs them, and boxes (samples, queries, 4)',
        where="graphs.outputs",
    )


def detections(outputs: Outputs, score: float, *, most: int = MOST) -> list[np.ndarray]:
    """Per sample float32 (K, 6) [x1, y1, x2, y2, score, class], best first, in the unit of the form (`extent`).

    A candidate speaks for its best class only. What is not finite is no box. At most `most` of them, none below
    `score`.
    """
    form = form_of(outputs)
    height, width = form.extent(outputs)
    limit = np.array([width, height, width, height], np.float64)
    floor = float(np.log(score / (1 - score)))
    result = []

    for i in range(form.counts(outputs)[0]):
        scores, boxes = form.candidates(outputs, i)
        scores = np.where(np.isnan(scores), -np.inf, scores)
        best = scores.max(axis=1)
        at = np.flatnonzero((best >= floor) & np.isfinite(boxes).all(axis=1))
        at = at[np.argsort(-best[at], kind="stable")[:CANDIDATES]]
        kind, place = scores[at].argmax(axis=1), np.clip(boxes[at], 0, limit)
        survivors = survivors_of(form, place, kind)[:most]
        shares = 1 / (1 + np.exp(-np.clip(best[at][survivors], -700, 700)))
        result.append(np.column_stack([place[survivors], shares, kind[survivors]]).astype(np.float32).reshape(-1, 6))

    return result


def survivors_of(form: BoxForm, boxes: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Positions of the boxes (K, 4), sorted best first, that the form keeps of them."""
    return np.arange(len(boxes)) if form.nms_iou is None else suppress(boxes, kinds, form.nms_iou)
