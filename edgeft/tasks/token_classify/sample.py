"""A text with its true entities for a page, and how many words have each tag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..record import LabelCounts
from . import decoding


def show(split: Any, i: int, labels: Sequence[str]) -> dict[str, Any]:
    """The text with its entities in brackets."""
    raw, target = split.raw(i), split.targets[i]
    spans = decoding.true_spans(raw, target, labels)
    rows = [(kind, str(raw["text"])[start:end]) for kind, start, end in spans]
    return {"text": decoding.marked(raw, spans), "caption": decoding.describe(target, labels), "rows": rows}


def count(split: Any, labels: Sequence[str]) -> LabelCounts:
    """Words of each tag; that most of them are "O" is no fault."""
    counts = np.zeros(len(labels), np.int64)
    for target in split.targets:
        counts += np.bincount(target["tags"], minlength=len(labels))
    return LabelCounts("words", counts, balance=False)
