"""A sound in chunks as they come: from a file of any length, or from a pipe that a recorder writes into.

A pipe holds a .wav (its header says rate, channels and coding) or bare samples: 16-bit integers, little-endian, one
channel, as `arecord -t raw -f S16_LE -c 1` writes them. No package for sound devices is needed.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..core.errors import DataError
from . import sound_file, wav_file

#: bytes that are read at once; of a pipe as many as are there
_BYTES = 2**15
#: the name that stands for standard input
STDIN = "-"


@dataclass(frozen=True)
class Chunks:
    """int16 or float32 (T,) arrays at `rate` hertz, read when they are asked for."""

    rate: int
    samples: Iterator[np.ndarray]


@contextlib.contextmanager
def opened(name: str, raw_rate: int, stated_rate: int | None = None) -> Iterator[Chunks]:
    """The sound in the file `name`, or in standard input where that is "-".

    `raw_rate` is the rate of bare samples; `stated_rate` is what a user says it is, and then a header must say the
    same. Raises `DataError` naming the file where it is absent, no sound or truncated, and `Missing` where soundfile is
    needed. Bare samples are read from standard input alone.
    """
    if name == STDIN:
        yield from_pipe(sys.stdin.buffer, stated_rate or raw_rate, stated_rate)
        return

    path = Path(name)
    layout = sound_file.wav_layout(path)
    if layout is None:
        sound = sound_file.read(path)
        yield Chunks(_same_rate(sound["rate"], stated_rate, name), iter([sound["samples"]]))
        return

    with path.open("rb") as file:
        file.seek(layout.start)
        yield Chunks(_same_rate(layout.rate, stated_rate, name), _blocks(file, layout, name))


def from_pipe(pipe: BinaryIO, raw_rate: int, stated_rate: int | None = None) -> Chunks:
    """The sound that comes out of a pipe; the first bytes say whether it has the header of a .wav."""
    begin = pipe.read(12)
    if begin[:4] != b"RIFF" or begin[8:] != b"WAVE":
        layout = wav_file.Layout(wav_file.PCM, 1, raw_rate, 2, 0, wav_file.ENDLESS)
        return Chunks(raw_rate, _blocks(pipe, layout, "standard input", begin))

    try:
        layout_of_header = wav_file.layout(pipe, head=begin)
    except ValueError as error:
        raise DataError(f"not readable as a sound ({error})", where="standard input") from error

    if layout_of_header is None:
        raise DataError(
            "a .wav of another coding than PCM or floating point",
            where="standard input",
            remedy="record with `arecord -f S16_LE`",
        )

    rate = _same_rate(layout_of_header.rate, stated_rate, "standard input")
    return Chunks(rate, _blocks(pipe, layout_of_header, "standard input"))


def _same_rate(rate: int, stated_rate: int | None, name: str) -> int:
    if stated_rate not in (None, rate):
        raise DataError(
            f"the header says {rate} Hz, and --rate says {stated_rate} Hz",
            where=name,
            remedy="leave out --rate, which is for samples without a header",
        )
    return rate


def _blocks(file: Any, layout: wav_file.Layout, name: str, begin: bytes = b"") -> Iterator[np.ndarray]:
    """Samples (T,) of what comes, channels averaged; bytes of an unfinished sample wait for the rest of it."""
    frame = layout.channels * layout.width
    left, pending = layout.size - len(begin), begin
    while True:
        usable = len(pending) // frame * frame
        if usable:
            samples = wav_file.samples(pending[:usable], layout.tag, layout.width)
            if samples.dtype != np.int16 and not np.isfinite(samples).all():
                raise DataError("holds samples that are not finite", where=name, remedy="record it again")
            yield sound_file.mono(samples, layout.channels)
            pending = pending[usable:]

        block = file.read1(min(left, _BYTES)) if left > 0 else b""
        if not block:
            return
        left -= len(block)
        pending += block
