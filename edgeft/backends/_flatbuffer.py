"""A minimal reader of flatbuffers: tables whose fields are asked for by number, as https://flatbuffers.dev/internals/
describes the encoding. Every offset is checked: `ValueError` where one points outside.
"""

from __future__ import annotations

import struct

import numpy as np


def integer_at(data: memoryview, at: int, kind: str) -> int:
    if at < 0 or at + struct.calcsize(kind) > len(data):
        raise ValueError("cut short, or an offset points outside")
    return int(struct.unpack_from("<" + kind, data, at)[0])


class Table:
    """One flatbuffer table at byte `at`; fields are asked for by number and fall back to their defaults."""

    def __init__(self, data: memoryview, at: int) -> None:
        self.data, self.at = data, at
        self.vtable = at - integer_at(data, at, "i")
        self.size = integer_at(data, self.vtable, "H")

    def _field(self, number: int) -> int:
        place = 4 + 2 * number
        offset = integer_at(self.data, self.vtable + place, "H") if place < self.size else 0
        return self.at + offset if offset else 0

    def number(self, field: int, kind: str, default: int = 0) -> int:
        at = self._field(field)
        return integer_at(self.data, at, kind) if at else default

    def real(self, field: int) -> float:
        """A float32, 0 where the field is left out."""
        at = self._field(field)
        return float(np.frombuffer(self.data, "<f4", 1, at)[0]) if at else 0.0

    def _follow(self, field: int) -> int:
        at = self._field(field)
        return at + integer_at(self.data, at, "I") if at else 0

    def table(self, field: int) -> Table | None:
        at = self._follow(field)
        return Table(self.data, at) if at else None

    def vector(self, field: int, dtype: str) -> np.ndarray:
        """A vector of numbers as an array that views the file."""
        width = np.dtype(dtype).itemsize
        at = self._follow(field)
        if not at:
            return np.zeros(0, dtype)

        count = integer_at(self.data, at, "I")
        if at + 4 + count * width > len(self.data):
            raise ValueError("cut short inside a vector")

        return np.frombuffer(self.data, "<" + dtype, count, at + 4)

    def tables(self, field: int) -> list[Table]:
        at = self._follow(field)
        starts = range(at + 4, at + 4 + 4 * len(self.vector(field, "u4")), 4) if at else ()
        return [Table(self.data, s + integer_at(self.data, s, "I")) for s in starts]

    def text(self, field: int) -> str:
        return self.vector(field, "u1").tobytes().decode()
