"""Classifying texts: a string in, one class out. Decoding and metric are those of `classify`, on logits (N, C)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...inputs.text import configure, preprocess, read
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
from ..show import show

__all__ = [
    "EXTRA_METRICS",
    "METRIC",
    "NAME",
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

NAME = "text-classify"
#: characters of a text that a report shows
SHOWN = 300


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The text, cut where it is long."""
    shown = show(raw)
    words = shown.get("text", "")
    return {"text": words if len(words) <= SHOWN else f"{words[:SHOWN]} ..."} if words else shown
