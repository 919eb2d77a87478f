"""Pictures that are resized to fit, with a plain border: the same arithmetic as edgeft/inputs/letterbox.py."""

import numpy as np

from .run_pixels import channels_of, normalized, resized


def letterbox(height, width, size):
    """Rows, columns, top and left of a picture of `height` x `width` in one of `size`."""
    ratio = min(size[0] / height, size[1] / width)
    rows = min(size[0], max(1, int(height * ratio + 0.5)))
    columns = min(size[1], max(1, int(width * ratio + 0.5)))
    return rows, columns, (size[0] - rows) // 2, (size[1] - columns) // 2


def feeds(raw, spec):
    """{input name: float32 batch of one}, by the manifest's preprocess table."""
    rows, columns, top, left = letterbox(raw.shape[0], raw.shape[1], spec["size"])
    channels = spec["channels"]
    canvas = np.full((spec["size"][0], spec["size"][1], channels), spec["fill"], np.uint8)
    pixels = resized(channels_of(raw, channels), rows, columns, spec["resize"])
    canvas[top : top + rows, left : left + columns] = pixels.reshape(rows, columns, channels)
    return {spec["input"]: normalized(canvas, spec)}
