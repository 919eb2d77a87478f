"""What `edgeft predict --json` prints of an input: std_msgs/String."""

import json

import numpy as np
from std_msgs.msg import String as Answer


def answer_of(decoded, header, least):
    """The JSON object."""
    return Answer(data=json.dumps({key: value for key, value in decoded.items() if not isinstance(value, np.ndarray)}))
