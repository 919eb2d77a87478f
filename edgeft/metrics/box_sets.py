"""Boxes from the outputs of a detector that answers with a set: no cells, no non-maximum suppression. Numpy only.

A fixed number Q of queries (or detection tokens) speak for one object each, or for none (DETR, Carion et al. 2020;
YOLOS, Fang et al. 2021; RT-DETR, Zhao et al. 2023). The outputs are numbered, in this order:

    class logits (N, Q, C), boxes (N, Q, 4)                           each class by itself: a sigmoid a class
    class logits (N, Q, C), "no object" logit (N, Q, 1), boxes        one choice: a softmax over all C + 1

Boxes are cx cy w h as shares 0..1 of the input's sides. A query speaks for its best class.
"""

from __future__ import annotations

import numpy as np

from .box_form import BoxForm, Outputs, Steps, in_order


def parts(outputs: Outputs) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Class logits, "no object" logits or None, and boxes, of outputs that `fits`."""
    arrays = [np.asarray(outputs[name]) for name in in_order(outputs)]
    return arrays[0], arrays[1] if len(arrays) == 3 else None, arrays[-1]


def fits(outputs: Outputs) -> bool:
    """Whether the outputs are those of a set."""
    if len(outputs) not in (2, 3) or any(np.ndim(array) != 3 for array in outputs.values()):
        return False

    logits, nothing, boxes = parts(outputs)
    alike = boxes.shape[:2] == logits.shape[:2] and boxes.shape[2] == 4
    return alike and (nothing is None or nothing.shape == (*logits.shape[:2], 1))


def names(outputs: Outputs) -> list[str]:
    """The outputs whose queries are a set, in no order: all of outputs that `fits`, none of others."""
    return in_order(outputs) if fits(outputs) else []


def counts(outputs: Outputs) -> tuple[int, int]:
    """Numbers of samples and classes."""
    logits = parts(outputs)[0]
    return int(logits.shape[0]), int(logits.shape[2])


def candidates(outputs: Outputs, i: int) -> tuple[np.ndarray, np.ndarray]:
    """All queries of sample `i`: log-odds float64 (Q, C) and boxes float64 (Q, 4) x1 y1 x2 y2 as shares."""
    logits, nothing, boxes = parts(outputs)
    cx, cy, w, h = boxes[i].astype(np.float64).T
    corners = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    scores = logits[i].astype(np.float64)

    return (scores if nothing is None else log_odds(scores, nothing[i].astype(np.float64))), corners


def log_odds(logits: np.ndarray, nothing: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of the softmax of logits (Q, C) beside `nothing` (Q, 1); (Q, C)."""
    every = np.concatenate([logits, nothing], axis=1)
    shifted = every - every.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    others = powers.sum(axis=1, keepdims=True) - powers
    scores: np.ndarray = (shifted - np.log(np.maximum(others, 1e-300)))[:, :-1]

    return scores


def units(outputs: Outputs, steps: Steps) -> np.ndarray:
    """One LSB of each logit moves a log-odds of a sigmoid by one LSB, of a softmax by two: its own, and the rivals'."""
    logits, nothing, _ = parts(outputs)
    names = in_order(outputs)[:-1]
    largest = max(float(np.max(steps[name])) for name in names)
    return np.full(logits.shape[1], largest if nothing is None else 2 * largest)


SET = BoxForm("set", fits, counts, candidates, lambda outputs: (1.0, 1.0), units, nms_iou=None)
