"""Stand-in for diagnostic_msgs."""

from typing import ClassVar

from ros_fields import Message
from std_msgs.msg import Header


class KeyValue(Message):
    FIELDS: ClassVar = {"key": "string", "value": "string"}


class DiagnosticStatus(Message):
    FIELDS: ClassVar = {
        "level": "byte",
        "name": "string",
        "message": "string",
        "hardware_id": "string",
        "values": [KeyValue],
    }
    OK, WARN, ERROR, STALE = b"\x00", b"\x01", b"\x02", b"\x03"


class DiagnosticArray(Message):
    FIELDS: ClassVar = {"header": Header, "status": [DiagnosticStatus]}
