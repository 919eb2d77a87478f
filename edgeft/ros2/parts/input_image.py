"""Pictures: sensor_msgs/Image."""

import numpy as np
from sensor_msgs.msg import Image as Input

from edgeft.core.errors import DataError

#: encoding -> channels of a pixel, and their order as red, green, blue
ENCODINGS = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0,)),
    "8UC1": (1, (0,)),
    "8UC3": (3, (2, 1, 0)),  # as cv_bridge has it: OpenCV's order
}


def raw_of(message, spec):
    """uint8 (H, W) or (H, W, 3) of an Image; raises `DataError` for another encoding or too few bytes."""
    if message.encoding not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise DataError(
            f"encoding {message.encoding!r} is not known", where="Image", remedy=f"convert it to one of {known}"
        )

    channels, order = ENCODINGS[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = np.frombuffer(bytes(message.data), np.uint8)

    if not height or not width or step < width * channels or data.size < step * height:
        problem = f"{data.size} bytes and a step of {step} are no picture of {height} x {width}"
        raise DataError(problem, where="Image")

    rows = data[: step * height].reshape(height, step)[:, : width * channels]
    pixels = rows.reshape(height, width, channels)[:, :, list(order)]
    return np.ascontiguousarray(pixels[:, :, 0] if channels == 1 else pixels)


def message_of(raw, spec):
    """The Image of a raw picture."""
    raw = np.ascontiguousarray(raw, np.uint8)
    message = Input()
    message.height, message.width = int(raw.shape[0]), int(raw.shape[1])
    message.encoding = "mono8" if raw.ndim == 2 else "rgb8"
    message.step = int(raw[0].size)
    message.data = raw.tobytes()
    return message


def header_of(message):
    """The header that answers repeat."""
    return message.header
