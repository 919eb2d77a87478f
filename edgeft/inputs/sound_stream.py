"""Sounds that come in chunks: windows of features that a model takes, equal to those of the whole sound bit for bit.

A window is what `sound.preprocess` makes of a clip of the sound (brought to the model's rate): the clips begin whole
hops apart, and silence of half a window lies before and behind the sound, so that its first and its last moment come to
lie in the middle of a window too. Between two chunks the samples of an unfinished frame and the mel energies of a
window's frames are kept. Each frame is computed once, whatever the sizes of the chunks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..core.errors import DataError, UsageError
from . import sound
from .resampling import resample_chunks
from .sound_file import MAX_RATE

#: samples of a chunk that are worked on at once, which bounds the memory that a long one takes
_BLOCK = 8192


def windows(
    chunks: Iterable[np.ndarray], rate: int, table: Mapping[str, Any], step: float
) -> Iterator[tuple[float, dict[str, np.ndarray]]]:
    """(seconds, feeds) of a window every `step` seconds of a sound, as soon as its samples are there.

    `chunks` are int16 or float32 (T,) at `rate` hertz, of any lengths; `table` is the `preprocess` table of kind
    "sound". `step` is rounded to whole hops of the features. `seconds` is where in the sound the window's middle lies:
    its answer is that of half a window later. After the last chunk come the windows that reach beyond the end.

    Raises `DataError` for chunks that are no sound and for a stream without any sample, `UsageError` for a step that is
    longer than a window, and `BundleError` as `sound.check` does.
    """
    spec = sound.check(table)
    if not 0 < rate <= MAX_RATE:
        raise DataError(f"a rate of {rate} Hz is not possible", where="stream")

    stride = hops(step, spec)
    before = spec.length // 2
    silence = [np.zeros(before)], [np.zeros(spec.length - before)]
    samples = itertools.chain(silence[0], resample_chunks(_floats(chunks, rate), rate, spec.rate), silence[1])

    energies, levels = np.zeros((0, spec.mels)), np.zeros(0)
    start = 0
    for new in _frames(samples, spec):
        energies, levels = np.concatenate([energies, new[0]]), np.concatenate([levels, new[1]])
        while len(levels) >= spec.frames:
            values = sound.of_energies(energies[: spec.frames], levels[: spec.frames], spec)
            yield start * spec.hop / spec.rate, sound.feed(values, spec)
            energies, levels = energies[stride:], levels[stride:]
            start += stride


def hops(step: float, spec: sound.Spec) -> int:
    """`step` seconds in whole hops, at least one; raises `UsageError` where it is longer than a window."""
    stride = max(1, round(step * spec.rate / spec.hop))
    if stride > spec.frames:
        raise UsageError(
            f"answers {step:g} s apart would leave out sound between windows of {spec.length / spec.rate:g} s",
            where="--step",
            remedy="give a shorter step",
        )
    return stride


def _floats(chunks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """The chunks as float64 of full scale 1, in blocks that are not long."""
    empty = True
    for chunk in chunks:
        for at in range(0, len(chunk), _BLOCK):
            empty = False
            yield sound.checked({"samples": chunk[at : at + _BLOCK], "rate": rate})[0]
    if empty:
        raise DataError("holds no sound", where="stream")


def _frames(samples: Iterable[np.ndarray], spec: sound.Spec) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`sound.energies` of the frames that `samples` float64 (T,) complete, each frame once."""
    pending = np.zeros(0)
    ahead = 0  # samples still to come that lie between two frames, where these do not overlap
    for chunk in samples:
        pending = np.concatenate([pending, chunk[min(ahead, len(chunk)) :]])
        ahead -= min(ahead, len(chunk))
        if len(pending) < spec.window:
            continue

        count = 1 + (len(pending) - spec.window) // spec.hop
        yield sound.energies(pending[spec.hop * np.arange(count)[:, None] + np.arange(spec.window)], spec)
        ahead = max(0, count * spec.hop - len(pending))
        pending = pending[count * spec.hop :]


def blocks(
    chunks: Iterable[np.ndarray], rate: int, table: Mapping[str, Any], frames: int, behind: int
) -> Iterator[np.ndarray]:
    """The features of a sound in blocks of `frames`, as a streaming graph takes them, as soon as their samples are
    there: those of `sound.preprocess` of the whole sound, bit for bit (MFCCs up to rounding of float32: BLAS sums the
    cosine transform of fewer rows in another order).

    `chunks`, `rate` and `table` as in `windows`. After the sound comes silence of `behind` frames at least. Raises
    `DataError` as `windows` does.
    """
    spec = sound.check(table)
    if not 0 < rate <= MAX_RATE:
        raise DataError(f"a rate of {rate} Hz is not possible", where="stream")

    silence = np.zeros(spec.window + (behind + frames) * spec.hop)
    samples = itertools.chain(resample_chunks(_floats(chunks, rate), rate, spec.rate), [silence])
    energies, levels = np.zeros((0, spec.mels)), np.zeros(0)

    for new in _frames(samples, spec):
        energies, levels = np.concatenate([energies, new[0]]), np.concatenate([levels, new[1]])
        while len(levels) >= frames:
            (block,) = sound.feed(sound.of_energies(energies[:frames], levels[:frames], spec), spec).values()
            yield block
            energies, levels = energies[frames:], levels[frames:]
