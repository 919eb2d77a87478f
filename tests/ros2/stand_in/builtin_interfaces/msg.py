"""Stand-in for builtin_interfaces."""

from typing import ClassVar

from ros_fields import Message


class Time(Message):
    FIELDS: ClassVar = {"sec": "int32", "nanosec": "uint32"}
