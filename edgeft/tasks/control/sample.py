"""An observation with the recorded controls for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..show import show as plain
from . import decoding


def show(split: Any, i: int, labels: Sequence[str]) -> dict[str, Any]:
    """The frame, or the numbers of the state one a row, with what was done."""
    return rows_of(split.raw(i), decoding.describe(split.targets[i], labels))


def rows_of(raw: Any, caption: str) -> dict[str, Any]:
    """A picture (of a stack of them the last one), or the numbers of a row of `raw`, under `caption`."""
    values = np.asarray(raw)
    if values.ndim != 1:
        return {**plain(decoding.newest(raw)), "caption": caption}
    rows = [(f"input {i}", f"{float(value):.4g}") for i, value in enumerate(values[:12])]
    if len(values) > 12:
        rows.append(("", f"and {len(values) - 12} more"))
    return {"rows": rows, "caption": caption}
