"""Arrays that have the form of a picture, as pixels."""

from __future__ import annotations

import numpy as np

#: pixels a side from which on an array is shown as a picture
_SMALLEST = 8


def as_picture(values: np.ndarray) -> np.ndarray | None:
    """uint8 (H, W) or (H, W, 3) of an array (H, W), (1, H, W), (3, H, W), (H, W, 1) or (H, W, 3), from its smallest to
    its largest value; None for an array of another form."""
    if values.ndim == 3 and values.shape[0] in (1, 3):
        values = np.moveaxis(values, 0, 2)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]

    fits = values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)
    if not fits or min(values.shape[:2]) < _SMALLEST or not np.isfinite(values).all():
        return None

    low, high = float(values.min()), float(values.max())
    scaled: np.ndarray = np.rint((values.astype(np.float64) - low) * (255.0 / (high - low) if high > low else 0.0))
    return scaled.astype(np.uint8)
