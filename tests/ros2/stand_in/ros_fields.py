"""Messages of a stand-in: the fields of a definition with their types, checked as rclpy checks them."""

from __future__ import annotations

import array
from typing import Any, ClassVar

SCALARS = {
    "string": str,
    "bool": bool,
    "float64": float,
    "float32": float,
    "int16": int,
    "int32": int,
    "uint8": int,
    "uint32": int,
}
BYTES = {"uint8": "B", "int16": "h", "float64": "d"}


class Message:
    """`FIELDS` are {name: type}; a type ends in [] for a sequence, and is a class for a message in it."""

    FIELDS: ClassVar[dict[str, Any]] = {}

    def __init__(self, **values: Any) -> None:
        for name, kind in self.FIELDS.items():
            object.__setattr__(self, name, self._default(kind))
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.FIELDS:
            raise AttributeError(f"{type(self).__name__} has no field {name}")
        object.__setattr__(self, name, self._checked(name, self.FIELDS[name], value))

    @staticmethod
    def _default(kind: Any) -> Any:
        if isinstance(kind, list):
            return []
        if isinstance(kind, type):
            return kind()
        if kind == "byte":
            return b"\x00"
        if kind.endswith("[]"):
            return array.array(BYTES[kind[:-2]])
        return SCALARS[kind]()

    @staticmethod
    def _checked(name: str, kind: Any, value: Any) -> Any:
        if isinstance(kind, list):
            assert isinstance(value, list) and all(type(each) is kind[0] for each in value), (name, value)
            return value
        if isinstance(kind, type):
            assert type(value) is kind, (name, value)
            return value
        if kind == "byte":
            assert isinstance(value, bytes) and len(value) == 1, (name, value)
            return value
        if kind.endswith("[]"):
            return array.array(BYTES[kind[:-2]], value)
        assert type(value) is SCALARS[kind], (name, value)
        return value
