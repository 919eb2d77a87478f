"""Pictures that are seen in windows: the same arithmetic as edgeft/inputs/windows.py."""

import numpy as np

from .run_pixels import channels_of, normalized


def windows_of(height, width, spec):
    """(top, left, rows, columns) of each window; rows and columns (from, to) are what it decides."""
    (high, wide), overlap = spec["size"], spec["overlap"]
    down, across = along(height, high, overlap), along(width, wide, overlap)
    return [(top, left, rows, columns) for top, rows in down for left, columns in across]


def along(length, side, overlap):
    if length <= side:
        return [(0, (0, length))]
    count = -(-(length - side) // max(1, int(side * (1 - overlap)))) + 1
    starts = [i * (length - side) // (count - 1) for i in range(count)]
    ends = [(starts[i] + side + starts[i + 1]) // 2 for i in range(count - 1)]
    return list(zip(starts, zip([0, *ends], [*ends, length])))


def feeds(raw, spec):
    """{input name: float32 batch of all windows}, by the manifest's preprocess table."""
    (high, wide), channels = spec["size"], spec["channels"]
    pieces = []
    for top, left, _, _ in windows_of(raw.shape[0], raw.shape[1], spec):
        rows = np.minimum(np.arange(top, top + high), raw.shape[0] - 1)
        columns = np.minimum(np.arange(left, left + wide), raw.shape[1] - 1)
        pixels = channels_of(raw[rows[:, None], columns], channels)
        pieces.append(normalized(pixels.reshape(high, wide, channels), spec))
    return {spec["input"]: np.concatenate(pieces)}
