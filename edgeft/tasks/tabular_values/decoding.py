"""A number from the numbers and categories of a row, in the unit of its column; the metric is the mean absolute error.

Outputs are float (N, 1), judged as `control` judges its values; a raw sample is a row of a table (`inputs.columns`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...inputs import columns
from ...inputs.columns import configure, preprocess, read
from ..control.decoding import (
    EXTRA_METRICS,
    METRIC,
    alike,
    chance,
    decisions,
    decode,
    describe,
    extra_metrics,
    join,
    margins,
    metric,
    per_class,
    per_sample,
)

__all__ = [
    "EXTRA_METRICS",
    "METRIC",
    "alike",
    "chance",
    "configure",
    "decisions",
    "decode",
    "describe",
    "draw",
    "extra_metrics",
    "join",
    "margins",
    "metric",
    "per_class",
    "per_sample",
    "preprocess",
    "read",
]


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The row in words."""
    return {"text": columns.shown(raw)}
