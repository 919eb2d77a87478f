"""Brushes of Label Studio: a mask's run lengths, packed in bits (the scheme of the JavaScript package rle-pack).

A head of 53 bits says how many values there are, how many bits a value has, and the four widths of a run's length. Then
come runs: a bit (one value for all of the run, or one for each), two bits (which width), the length less one, and the
value or values. They are the bytes of a picture with four channels, of which the last one is the mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .boxes import Wrong

#: values of a picture that are unpacked
_MOST = 1 << 30


class _Bits:
    def __init__(self, content: bytes, where: str) -> None:
        self.bits, self.at, self.where = np.unpackbits(np.frombuffer(content, np.uint8)), 0, where

    def number(self, width: int) -> int:
        """The next `width` bits."""
        part = self.bits[self.at : self.at + width]
        if len(part) < width:
            raise Wrong(self.where, "a brush's run lengths end too early")
        self.at += width
        return int.from_bytes(np.packbits(part).tobytes(), "big") >> (-width % 8)


def mask(packed: Sequence[int], size: tuple[int, int], where: str) -> np.ndarray:
    """bool (H, W) of a brush; raises `Wrong` where the numbers do not fit the picture's `size`."""
    if not all(type(value) is int and 0 <= value <= 255 for value in packed):
        raise Wrong(where, "a brush's run lengths are no bytes")

    bits = _Bits(bytes(packed), where)
    count = bits.number(32)
    if count != size[0] * size[1] * 4 or count > _MOST:
        raise Wrong(where, f"a brush has {count} values, its picture {size[1]}x{size[0]} has {size[0] * size[1] * 4}")

    width = bits.number(5) + 1
    lengths = [bits.number(4) + 1 for _ in range(4)]
    values, at = np.zeros(count, np.uint32), 0

    while at < count:
        same, kind = bits.number(1), bits.number(2)
        end = at + bits.number(lengths[kind]) + 1
        if end > count:
            raise Wrong(where, f"a brush's run ends at value {end} of {count}")
        if same:
            values[at:end] = bits.number(width)
        else:
            values[at:end] = [bits.number(width) for _ in range(end - at)]
        at = end

    return values.reshape(*size, 4)[..., 3] > 0


def around(drawn: np.ndarray) -> tuple[tuple[int, int, int, int], tuple[int, ...]] | None:
    """(x1, y1, x2, y2 in pixels, run lengths by rows of that box), None of an empty mask."""
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not len(rows):
        return None

    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    inside = drawn[top:bottom, left:right].ravel()
    edges = np.flatnonzero(np.diff(inside)) + 1
    runs = np.diff(np.concatenate([[0], edges, [inside.size]]))
    return (left, top, right, bottom), tuple(int(run) for run in ([0, *runs] if inside[0] else runs))
