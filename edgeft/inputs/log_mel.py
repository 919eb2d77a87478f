"""Sounds as the log mel spectrogram that Whisper reads (Radford et al. 2022): a tensor (1, mels, frames).

Mono mix, resampling, zeros behind the recording up to the model's window; frames under a periodic Hann window whose
middles are a hop apart, the first at the first sample (the ends are mirrored); power spectrum; triangular filters of
equal area on Slaney's mel scale (linear below 1000 Hz, logarithmic above); logarithm to the base 10, cut off 8 below
its largest value of the window, then (x + 4) / 4. A test holds it against WhisperFeatureExtractor of transformers.

Everything is float64 until the tensor is made. The same arithmetic in the same order is in the bundle's `run.py`
(edgeft/inputs/run_log_mel.py).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.errors import BundleError
from . import sound
from .sound_file import MAX_RATE

KIND = "log_mel"
#: hertz at the end of the highest filter, whatever the rate
HIGHEST = 8000.0
#: least power whose logarithm is taken
FLOOR = 1e-10
#: what a `preprocess` table of this kind holds beside `kind` and `input`: the largest value of each
COUNTS = {"rate": MAX_RATE, "length": 2**24, "window": 2**14, "hop": 2**14, "mels": 512}


def check(spec: Mapping[str, Any]) -> None:
    """Raise `BundleError` naming the key of a `preprocess` table that is missing or cannot be."""
    if spec.get("kind") != KIND or not isinstance(spec.get("input"), str) or not spec["input"]:
        raise BundleError(f"is no table of {KIND} with the name of an input", where="preprocess.kind")
    for key, most in COUNTS.items():
        if type(spec.get(key)) is not int or not 1 <= spec[key] <= most:
            raise BundleError(f"is {spec.get(key)!r}, expected 1 to {most}", where=f"preprocess.{key}")
    if spec["length"] < max(spec["window"], spec["hop"]):
        raise BundleError(f"is {spec['length']}, less than a frame", where="preprocess.length")


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (1, mels, frames)} of a raw sound, with `length` / `hop` frames.

    Raises `DataError` for samples that are not finite, of another dtype or shape, or longer than the window, and
    `BundleError` for a spec that cannot be followed.
    """
    check(spec)
    samples, rate = sound.checked(raw)
    clip = sound.fit(samples, rate, spec["rate"], spec["length"], "start")
    size, hop, frames = spec["window"], spec["hop"], spec["length"] // spec["hop"]
    mirrored = np.pad(clip, size // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    pieces = mirrored[hop * np.arange(frames)[:, None] + np.arange(size)]
    spectrum = np.fft.rfft(pieces * window)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    levels = np.log10(np.maximum(power @ filters(spec["rate"], size, spec["mels"]), FLOOR))
    levels = (np.maximum(levels, levels.max() - 8.0) + 4.0) / 4.0

    return {spec["input"]: np.ascontiguousarray(levels.T[None], np.float32)}


@functools.lru_cache(maxsize=4)
def filters(rate: int, fft: int, mels: int) -> np.ndarray:
    """The mel filter bank, float64 (fft // 2 + 1, mels): triangles over the spectrum's lines, 2 / width high."""
    edges = hertz(np.linspace(0.0, 15.0 + np.log(HIGHEST / 1000.0) * STEPS, mels + 2))
    lines = np.linspace(0, rate // 2, fft // 2 + 1)[:, None]
    rising = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines) / (edges[2:] - edges[1:-1])
    bank: np.ndarray = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    return bank


#: mels of a factor e in frequency above 1000 Hz
STEPS = 27.0 / np.log(6.4)


def hertz(mels: np.ndarray) -> np.ndarray:
    """Frequencies of Slaney's mels: 200 / 3 Hz each up to 15 of them, then 27 in a factor of 6.4."""
    return np.where(mels < 15.0, mels * (200.0 / 3.0), 1000.0 * np.exp((mels - 15.0) / STEPS))
