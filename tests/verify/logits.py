"""Outputs of imaginary classifiers whose right and wrong answers are chosen."""

from __future__ import annotations

import numpy as np

LABELS = ("ant", "bee", "cat", "dog")


def outputs(decisions: np.ndarray, classes: int = 4, margin: float = 4.0) -> dict[str, np.ndarray]:
    """Logits (N, classes) that decide as told, by `margin`."""
    return {"logits": (np.eye(classes)[decisions] * margin).astype(np.float32)}


def targets(n: int, classes: int = 4) -> np.ndarray:
    return np.arange(n) % classes


def wrong(truth: np.ndarray, at: slice | list[int], classes: int = 4) -> np.ndarray:
    """`truth` as decisions, mistaken at those samples, each for a class that depends on i: no pair is swapped."""
    decided = truth.copy()
    rows = np.arange(len(truth))[at]
    decided[rows] = (truth[rows] + 1 + (rows // classes) % (classes - 1)) % classes
    return decided
