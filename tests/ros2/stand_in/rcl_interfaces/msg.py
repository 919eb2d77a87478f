"""Stand-in for rcl_interfaces."""

from typing import ClassVar

from ros_fields import Message


class ParameterDescriptor(Message):
    FIELDS: ClassVar = {
        "name": "string",
        "type": "uint8",
        "description": "string",
        "additional_constraints": "string",
        "read_only": "bool",
    }
