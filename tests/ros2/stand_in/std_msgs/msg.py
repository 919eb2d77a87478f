"""Stand-in for std_msgs."""

from typing import ClassVar

from builtin_interfaces.msg import Time
from ros_fields import Message


class Header(Message):
    FIELDS: ClassVar = {"stamp": Time, "frame_id": "string"}


class String(Message):
    FIELDS: ClassVar = {"data": "string"}


class MultiArrayDimension(Message):
    FIELDS: ClassVar = {"label": "string", "size": "uint32", "stride": "uint32"}


class MultiArrayLayout(Message):
    FIELDS: ClassVar = {"dim": [MultiArrayDimension], "data_offset": "uint32"}


class Float64MultiArray(Message):
    FIELDS: ClassVar = {"layout": MultiArrayLayout, "data": "float64[]"}


class Int16MultiArray(Message):
    FIELDS: ClassVar = {"layout": MultiArrayLayout, "data": "int16[]"}
