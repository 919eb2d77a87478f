"""A clip of sound: std_msgs/Int16MultiArray, mono, at the rate that the label of its first dimension states.

ROS 2 has no common message for sound. The label is the number of samples a second as text ("16000").
"""

import numpy as np
from std_msgs.msg import Int16MultiArray as Input
from std_msgs.msg import MultiArrayDimension, MultiArrayLayout

from edgeft.core.errors import DataError


def raw_of(message, spec):
    """{"samples": int16 (T,), "rate": samples a second}; raises `DataError` where the rate is not stated."""
    label = message.layout.dim[0].label if message.layout.dim else ""
    if not label.isdecimal() or not int(label):
        raise DataError("layout.dim[0].label is not the number of samples a second", where="Int16MultiArray")
    return {"samples": np.asarray(message.data, np.int16), "rate": int(label)}


def message_of(raw, spec):
    """The message of a raw sound."""
    samples = np.asarray(raw["samples"])
    if samples.dtype != np.int16:
        samples = (samples * 32767).clip(-32768, 32767).astype(np.int16)
    dimension = MultiArrayDimension(label=str(int(raw["rate"])), size=len(samples), stride=len(samples))
    return Input(layout=MultiArrayLayout(dim=[dimension]), data=[int(value) for value in samples])


def header_of(message):
    """None: such a message has no header."""
    return
