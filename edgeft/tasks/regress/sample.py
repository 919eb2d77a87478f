"""Arrays with their targets for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..show import show as plain
from . import decoding
from .maps import as_picture


def show(split: Any, i: int, labels: Sequence[str]) -> dict[str, Any]:
    """The first array that has the form of a picture, or each array in short, and the target in short."""
    raw, target = split.raw(i), split.targets[i]
    caption = decoding.describe(target, labels) if np.ndim(target) else "no target"
    if not isinstance(raw, Mapping):
        return {**plain(raw), "caption": caption}

    drawn = next((pixels for values in raw.values() if (pixels := as_picture(np.asarray(values))) is not None), None)
    rows = [(f"{name} {np.shape(values)}", decoding.describe(values, ())) for name, values in raw.items()]
    return {"rows": rows, "caption": caption, **({} if drawn is None else {"image": drawn})}
