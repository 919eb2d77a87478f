"""A row of numbers: std_msgs/Float64MultiArray."""

import numpy as np
from std_msgs.msg import Float64MultiArray as Input

from edgeft.core.errors import DataError


def raw_of(message, spec):
    """float32 (K,); raises `DataError` for values that are not finite."""
    values = np.asarray(message.data, np.float32)
    if not values.size or not np.isfinite(values).all():
        raise DataError("has no values, or some that are not finite", where="Float64MultiArray")
    return values


def message_of(raw, spec):
    """The message of a raw row."""
    return Input(data=[float(value) for value in np.ravel(raw)])


def header_of(message):
    """None: such a message has no header."""
    return
