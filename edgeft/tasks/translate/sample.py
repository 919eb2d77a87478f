"""A sentence pair for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def show(split: Any, i: int, labels: Sequence[str]) -> dict[str, Any]:
    """The sentence and its translation, one below the other."""
    raw, target = split.raw(i), split.targets[i]
    del labels
    return {"rows": [("source", str(raw)), ("target", str(target))], "caption": ""}
