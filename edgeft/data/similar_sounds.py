"""Near duplicates of sounds: the same recording again, re-encoded, louder, resampled or cut a little differently.

The hash is a spectral envelope: the energies of 24 bands over the whole clip, in decibels around their own mean, which
loudness and a shift in time leave as they are. Clips of one voice come close to each other in it, so a candidate counts
only when the waveforms of both also correlate at some shift. Speed and pitch must be the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .samples import Split
from .similar import MOST_CONFIRMED

RATE = 4000  # hertz at which waveforms are compared: a lossy encoder keeps what lies below half of it
_SECONDS = 10.0  # of a longer clip the first ones are compared
_BANDS = 24
_LOW, _HIGH = 80.0, 1800.0  # hertz; below lies hum, above what encoders and telephones take away
_FLOOR = 30.0  # decibels below the loudest band, from where on all is noise
_NEAR = 4.0  # decibels, root mean square over the bands
_CLOSE = 0.95  # correlation of the waveforms
_MOST = 0.6  # of the energy of both, that overlaps
_CANDIDATES = 5  # of one sample, the nearest first


def is_sound(raw: Any) -> bool:
    return isinstance(raw, Mapping) and "samples" in raw and "rate" in raw


def waveform(raw: Mapping[str, Any]) -> np.ndarray:
    """The first 10 seconds float64 (T,) at 4000 Hz without their mean, brought there by its spectrum."""
    rate = int(raw["rate"])
    samples = np.asarray(raw["samples"])[: int(_SECONDS * rate)].astype(np.float64)
    samples = np.nan_to_num(samples - samples.mean())
    n = max(2, round(len(samples) * RATE / rate))
    lines = np.fft.rfft(samples)
    spectrum = np.zeros(n // 2 + 1, np.complex128)
    common = min(len(spectrum), len(lines))
    spectrum[:common] = lines[:common]

    return np.fft.irfft(spectrum, n) * (n / len(samples))


def envelope(wave: np.ndarray) -> np.ndarray:
    """Decibels float32 (24,) of the bands of a waveform at 4000 Hz, around their mean; zeros for silence."""
    power = np.square(np.abs(np.fft.rfft(wave)))
    edges = np.geomspace(_LOW, _HIGH, _BANDS + 1) * len(wave) / RATE
    at = np.minimum(np.round(edges).astype(np.int64), len(power) - 1)
    bands = np.add.reduceat(power, at)[:-1] / np.maximum(np.diff(at), 1)
    if not bands.max() > 0:
        return np.zeros(_BANDS, np.float32)

    decibels = np.maximum(10 * np.log10(np.maximum(bands / bands.max(), 1e-12)), -_FLOOR)
    levels: np.ndarray = (decibels - decibels.mean()).astype(np.float32)
    return levels


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """The largest correlation of two waveforms over all shifts, 0..1, turned over or not; silence correlates not.

    It is taken over what overlaps, which must hold most of the energy of both.
    """
    n, m = len(first), len(second)
    size = 1 << (n + m - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size)), size)
    shift = np.arange(-(m - 1), n)  # where `second` begins in `first`
    energies, enough = np.ones(len(shift)), np.ones(len(shift), bool)

    for wave, start, stop in (
        (first, np.maximum(shift, 0), np.minimum(shift + m, n)),
        (second, np.maximum(-shift, 0), np.minimum(n - shift, m)),
    ):
        total = np.concatenate([[0.0], np.cumsum(np.square(wave))])
        part = total[stop] - total[start]
        energies *= part
        enough &= part > max(_MOST * total[-1], 1e-12)

    return float((np.abs(product[shift]) / np.sqrt(np.where(enough, energies, np.inf))).max())


def hashes(split: Split) -> np.ndarray:
    """The envelope of every sample, float32 (N, 24)."""
    envelopes = [envelope(waveform(split.raw(i))) for i in range(len(split))]
    return np.stack(envelopes) if envelopes else np.zeros((0, _BANDS), np.float32)


def near_duplicates(
    first: Split,
    second: Split,
    known: tuple[np.ndarray, np.ndarray],
    skip: set[int] | None = None,
    limit: int = MOST_CONFIRMED,
) -> tuple[list[tuple[int, int]], int]:
    """As `similar.near_duplicates`: pairs of positions, and how many samples of `second` were looked at."""
    pairs: list[tuple[int, int]] = []
    looked = 0
    for j in range(len(second)):
        if skip and j in skip:
            continue

        distance = np.sqrt(np.square(known[0] - known[1][j]).mean(axis=1))
        nearest = np.argsort(distance, kind="stable")[:_CANDIDATES]
        for i in nearest[distance[nearest] <= _NEAR]:
            looked += 1
            if looked > limit:
                return pairs, j
            if correlation(waveform(first.raw(int(i))), waveform(second.raw(j))) >= _CLOSE:
                pairs.append((int(i), j))
                break

    return pairs, len(second)
