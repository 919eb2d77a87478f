"""What is known of a form of detectors' raw outputs, in one record; `detections.py` lists the forms. Numpy only."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Outputs = Mapping[str, np.ndarray]
Steps = Mapping[str, float | Sequence[float]]


@dataclass(frozen=True)
class BoxForm:
    """How class scores and boxes are read of the outputs {name: array (N, ...)} of a detector.

    A candidate is a place that may hold a box (a cell, a query): A of them a picture. Its scores are log-odds, so that
    1 / (1 + exp(-score)) is a probability.
    """

    name: str
    #: outputs -> whether they are of this form
    fits: Callable[[Outputs], bool]
    #: outputs -> numbers of samples and classes
    counts: Callable[[Outputs], tuple[int, int]]
    #: (outputs, i) -> of sample i the scores float64 (A, C) and the boxes float64 (A, 4) x1 y1 x2 y2
    candidates: Callable[[Outputs, int], tuple[np.ndarray, np.ndarray]]
    #: outputs -> height and width of the network's input in the unit of the boxes: in pixels, or 1.0 and 1.0
    extent: Callable[[Outputs], tuple[float, float]]
    #: (outputs, {output: LSB}) -> how far one LSB of every output moves a score at most, float64 (A,)
    units: Callable[[Outputs, Steps], np.ndarray]
    #: boxes of one class that overlap more are one object; None: each candidate is an object of its own
    nms_iou: float | None


def in_order(outputs: Outputs) -> list[str]:
    """Names of outputs by the numbers that they end in."""

    def number(name: str) -> tuple[int, str]:
        digits = re.search(r"(\d+)$", name)
        return (int(digits.group(1)) if digits else -1, name)

    return sorted(outputs, key=number)
