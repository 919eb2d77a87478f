"""A class a pixel: sensor_msgs/Image, mono8, as large as the picture that came."""

import numpy as np
from sensor_msgs.msg import Image as Answer


def answer_of(decoded, header, least):
    """The mask; `least` has no meaning here."""
    mask = np.ascontiguousarray(decoded["mask"], np.uint8)
    message = Answer(encoding="mono8", height=int(mask.shape[0]), width=int(mask.shape[1]), step=int(mask.shape[1]))
    if header is not None:
        message.header = header
    message.data = mask.tobytes()
    return message
