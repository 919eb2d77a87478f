"""Arrays: std_msgs/Float64MultiArray, the values of all inputs behind each other in the bundle's order."""

import math

import numpy as np
from std_msgs.msg import Float64MultiArray as Input

from edgeft.core.errors import DataError


def raw_of(message, spec):
    """{name: float64 of the input's shape}; raises `DataError` for another number of values, or not finite ones."""
    values = np.asarray(message.data, np.float64)
    sizes = [math.prod(item["shape"]) for item in spec["inputs"]]
    if len(values) != sum(sizes) or not np.isfinite(values).all():
        problem = f"has {len(values)} values, expected {sum(sizes)} finite ones"
        raise DataError(problem, where="Float64MultiArray")
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return {item["key"]: part.reshape(item["shape"]) for item, part in zip(spec["inputs"], parts)}


def message_of(raw, spec):
    """The message of {key: array}, or of the only array."""
    arrays = [raw[item["key"]] for item in spec["inputs"]] if isinstance(raw, dict) else [raw]
    return Input(data=[float(value) for array in arrays for value in np.ravel(array)])


def header_of(message):
    """None: such a message has no header."""
    return
