"""Stand-in for sensor_msgs."""

from typing import ClassVar

from ros_fields import Message
from std_msgs.msg import Header


class Image(Message):
    FIELDS: ClassVar = {
        "header": Header,
        "height": "uint32",
        "width": "uint32",
        "encoding": "string",
        "is_bigendian": "uint8",
        "step": "uint32",
        "data": "uint8[]",
    }
