"""Sounds from one sampling rate to another: a sinc under a Kaiser window, one set of taps a phase.

Crochiere and Rabiner, "Multirate Digital Signal Processing" (1983). The same arithmetic in the same order is in the
bundle's `run.py` (edgeft/inputs/run_clip.py); a test holds both bit-equal.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator

import numpy as np

from ..core.errors import DataError

#: the resampling filter: zero crossings on each side, and its window's shape (stop band about 80 dB down)
ZEROS, BETA = 24, 8.0
#: of the lower of both Nyquist frequencies, where the filter's middle lies
ROLLOFF = 0.95
#: outputs of one step of resampling, which bounds its memory
_BLOCK = 8192


def resample(samples: np.ndarray, rate: int, target_rate: int, start: int, count: int) -> np.ndarray:
    """Outputs `start`..`start + count` of `samples` float64 (T,) at `rate` hertz brought to `target_rate` hertz.

    Output n lies at time n / wanted; beyond its ends the sound is taken as silent. The filter's gain at 0 Hz is 1.
    """
    if rate == target_rate:
        return samples[start : start + count]

    taps, down, half = _taps(rate, target_rate)
    padded = np.concatenate([np.zeros(half), samples, np.zeros(half + 1)])
    return _filtered(padded, taps, down, start, count)


def resample_chunks(chunks: Iterable[np.ndarray], rate: int, target_rate: int) -> Iterator[np.ndarray]:
    """The outputs of `resample` for a sound that comes in chunks, float64 (T,) each, as soon as they can be computed.

    Joined they are the outputs for the joined chunks, bit for bit. An output waits for the `half` samples behind it.
    """
    if rate == target_rate:
        yield from chunks
        return

    taps, down, half = _taps(rate, target_rate)
    up = len(taps)
    padded = np.zeros(half)

    # how many samples came, how many outputs went, and where in all that is padded `padded` begins
    total = done = offset = 0
    for chunk in chunks:
        padded = np.concatenate([padded, chunk])
        total += len(chunk)
        ready = max(done, -(-(total - half) * up // down))
        yield _filtered(padded, taps, down, done, ready - done, offset)
        needed = ready * down // up  # the next output's first sample, which has come: outputs lie closer than `half`
        padded = padded[needed - offset :]
        done, offset = ready, needed

    count = -(-total * up // down)
    padded = np.concatenate([padded, np.zeros(half + 1)])
    yield _filtered(padded, taps, down, done, count - done, offset)


def _filtered(padded: np.ndarray, taps: np.ndarray, down: int, start: int, count: int, offset: int = 0) -> np.ndarray:
    """Outputs `start`..`start + count`; `padded` has the samples from position `offset` on, zeros before the first."""
    up, width = taps.shape
    if count <= 0:
        return np.zeros(0)

    # row i is what the outputs at sample i see; rows overlap and take no memory until they are picked
    windows = np.lib.stride_tricks.as_strided(padded, (len(padded) - width + 1, width), padded.strides * 2)
    parts = []

    for block in range(start, start + count, _BLOCK):
        n = np.arange(block, min(block + _BLOCK, start + count))
        parts.append((windows[n * down // up - offset] * taps[n * down % up]).sum(axis=1))

    return np.concatenate(parts)


@functools.lru_cache(maxsize=4)
def _taps(rate: int, target_rate: int) -> tuple[np.ndarray, int, int]:
    """Taps (phases, 2 half + 1) float64, the step in phases of one output, and `half`, the samples on each side."""
    common = math.gcd(rate, target_rate)
    up, down = target_rate // common, rate // common
    cutoff = ROLLOFF * min(1.0, target_rate / rate)
    half = math.ceil(ZEROS / cutoff)
    if up * (2 * half + 1) > 2**24:
        raise DataError(
            f"cannot be brought from {rate} Hz to {target_rate} Hz", where="sound", remedy="convert the file first"
        )

    distance = np.arange(-half, half + 1) - (np.arange(up) / up)[:, None]
    inside = np.sqrt(np.maximum(1 - np.square(distance / (half + 1)), 0.0))
    taps = np.sinc(cutoff * distance) * np.i0(BETA * inside)
    return taps / taps.sum(axis=1, keepdims=True), down, half
