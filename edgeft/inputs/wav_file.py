"""What is in a .wav file: PCM of 8 to 32 bits and floating point, WAVE_FORMAT_EXTENSIBLE included, by numpy alone.

A program that writes into a pipe does not know how long the sound will be, and states the largest size that the header
holds (ffmpeg, SoX, arecord) or none; such a sound ends where the file does.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
#: sizes from here on stand for "not known" where both the file's and the sound's are so large
UNKNOWN = 0x7FFFF000
#: bytes of a sound in a pipe that ends when nobody writes any more
ENDLESS = 2**62


@dataclass(frozen=True)
class Layout:
    """Where the samples of a file stand (`start`, `size` in bytes) and what they are: format, channels, rate, bytes."""

    tag: int
    channels: int
    rate: int
    width: int
    start: int
    size: int

    @property
    def frames(self) -> int:
        """Samples a channel, as far as they are whole."""
        return self.size // (self.channels * self.width)


def layout(file: BinaryIO, length: int | None = None, head: bytes = b"") -> Layout | None:
    """The layout of a file of `length` bytes, or None of a coding that is neither PCM nor floating point.

    The file stands at the first sample afterwards. A `length` of None is that of a pipe, whose sound may go on for as
    long as somebody writes; `head` are its first 12 bytes, where they were read already. Raises `ValueError` for a file
    that is no .wav or that ends before its samples begin.
    """
    head = head or file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise ValueError("it has no RIFF header of a .wav" if head else "it is empty")

    total, form, start = int.from_bytes(head[4:8], "little"), b"", len(head)
    while True:
        header = file.read(8)
        if len(header) < 8:
            raise ValueError("it ends too early")

        size = int.from_bytes(header[4:], "little")
        start += len(header)
        if header[:4] == b"data":
            break

        if header[:4] == b"fmt ":
            form = file.read(min(size, 40))
            _skip(file, size + size % 2 - len(form))
        else:
            _skip(file, size + size % 2)
        start += size + size % 2

    if len(form) < 16:
        raise ValueError("it does not state its format before the sound")

    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == EXTENSIBLE and len(form) >= 26:  # the format stands at the beginning of the GUID
        tag = int.from_bytes(form[24:26], "little")

    width = (bits + 7) // 8
    if not channels or (tag, width) not in {*((PCM, n) for n in (1, 2, 3, 4)), (FLOAT, 4), (FLOAT, 8)}:
        return None

    streamed = (size >= UNKNOWN and total >= UNKNOWN) or (size == 0 and total in (0, 0xFFFFFFFF))
    if streamed:
        rest = ENDLESS if length is None else length - start
        size = rest // (channels * width) * (channels * width)

    return Layout(tag, channels, rate, width, start, size)


def _skip(file: BinaryIO, size: int) -> None:
    """Read past `size` bytes: a pipe cannot be sought in."""
    while size > 0:
        block = len(file.read(min(size, 1 << 20)))
        if not block:
            raise ValueError("it ends too early")
        size -= block


def samples(stored: bytes, tag: int, width: int) -> np.ndarray:
    """int16 of 16-bit samples, float32 of full scale 1 of the others (8-bit ones are unsigned in a .wav)."""
    if tag == FLOAT:
        return np.frombuffer(stored, f"<f{width}").astype(np.float32)
    if width == 2:
        return np.frombuffer(stored, "<i2").astype(np.int16)
    if width == 1:
        return (np.frombuffer(stored, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)

    wide = np.zeros((len(stored) // width, 4), np.uint8)  # 24 bits: the upper three bytes of an int32
    wide[:, 4 - width :] = np.frombuffer(stored, np.uint8).reshape(-1, width)
    return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
