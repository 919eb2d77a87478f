"""A raw sample as a page or a terminal shows it, for every task that has nothing better to draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def show(raw: Any) -> dict[str, Any]:
    """A raw sample as a page shows it: {"image": pixels} or {"text": words or a few numbers}."""
    if isinstance(raw, np.ndarray) and raw.dtype == np.uint8 and raw.ndim in (2, 3):
        return {"image": raw}
    if isinstance(raw, Mapping):
        images = [v for v in raw.values() if "image" in show(v)]
        return {"image": images[0]} if images else {"text": ", ".join(f"{k} {_words(v)}" for k, v in raw.items())}

    return {"text": _words(raw)}


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    flat = np.asarray(value).ravel()
    words = [f"{v:.4g}" if isinstance(v, np.number) else str(v) for v in flat[:8]]
    return " ".join(words) + (f" ... ({flat.size} values)" if flat.size > 8 else "")
