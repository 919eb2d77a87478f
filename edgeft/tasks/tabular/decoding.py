"""A class from the numbers and categories of a row; the metric is accuracy.

Outputs are logits (N, C), judged as `classify` judges them; a raw sample is a row of a table (`inputs.columns`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...inputs import columns
from ...inputs.columns import configure, preprocess, read
from ..classify.decoding import (
    EXTRA_METRICS,
    METRIC,
    alike,
    chance,
    confusion,
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
    "confusion",
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
