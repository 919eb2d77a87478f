"""Augmentation of raw sounds {"samples": (T,), "rate": hertz}, before their features are made.

- speed: the sound is played faster or slower, which moves pitch and formants as another speaker's would (Ko et al.,
  "Audio augmentation for speech recognition", 2015);
- channel: a smooth random frequency response, as of another microphone or room;
- gain, and a shift in time;
- noise of a random colour (power falling with the frequency to a power of 0 to 2) at a random ratio of signal to noise.

What is drawn is a function of the generator alone; samples come out as float32 and may exceed full scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: frequencies, evenly spaced in octaves below half the rate, at which a random frequency response is drawn
BANDS = 8
_OCTAVES = 6.0


@dataclass(frozen=True)
class Amounts:
    """How far each change may go; `noise` are the least and largest ratio of signal to noise in decibels, and `noisy`
    the share of sounds that get noise at all."""

    speed: float  # share: 0.1 = from 0.9 to 1.1 times as fast
    channel: float  # decibels in both directions, at each of `BANDS` frequencies
    gain: float  # decibels in both directions
    shift: float  # seconds in both directions
    noise: tuple[float, float]
    noisy: float


def augmented(
    raw: Mapping[str, Any], rng: np.random.Generator, amounts: Amounts, longest: float = 0.0
) -> dict[str, Any]:
    """`raw` changed at random. A sound is not made longer than `longest` seconds, where that is above 0."""
    samples = np.asarray(raw["samples"])
    scale = 32768.0 if samples.dtype == np.int16 else 1.0
    x, rate = samples.astype(np.float64) / scale, int(raw["rate"])

    least = 1 - amounts.speed
    if longest:
        least = max(least, min(1.0, len(x) / (longest * rate - 1)))

    x = played(x, rng.uniform(least, 1 + amounts.speed))

    if amounts.channel:
        x = filtered(x, rng.uniform(-amounts.channel, amounts.channel, BANDS))

    if amounts.shift:  # zeros on one side move the middle of a sound by half their number
        zeros = 2 * round(abs(shift := rng.uniform(-amounts.shift, amounts.shift)) * rate)
        x = np.concatenate([np.zeros(zeros), x] if shift > 0 else [x, np.zeros(zeros)])

    noise, draw, ratio = coloured(rng, len(x)), rng.uniform(), rng.uniform(*amounts.noise)
    if draw < amounts.noisy:
        x = x + noise * _level(x) * 10 ** (-ratio / 20)

    x = x * 10 ** (rng.uniform(-amounts.gain, amounts.gain) / 20)
    return {**raw, "samples": x.astype(np.float32)}


def played(samples: np.ndarray, speed: float) -> np.ndarray:
    """`samples` float64 (T,) played `speed` times as fast, by linear interpolation: about T / speed samples."""
    count = max(1, round(len(samples) / speed))
    samples_at_speed: np.ndarray = np.interp(np.arange(count) * speed, np.arange(len(samples)), samples)
    return samples_at_speed


def filtered(samples: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """`samples` float64 (T,) with the frequency response that interpolates `gains` (in decibels) over octaves."""
    spectrum = np.fft.rfft(samples)
    octaves = np.log2(np.maximum(np.arange(len(spectrum)), 1) / max(len(spectrum) - 1, 1))
    response = np.interp(octaves, np.linspace(-_OCTAVES, 0.0, len(gains)), gains)
    return np.fft.irfft(spectrum * 10 ** (response / 20), len(samples))


def coloured(rng: np.random.Generator, count: int) -> np.ndarray:
    """Noise float64 (count,) of root mean square 1, from white to brown."""
    slope = rng.uniform(0.0, 1.0)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum = spectrum / np.maximum(np.arange(len(spectrum)), 1) ** slope
    noise = np.fft.irfft(spectrum, count) if count > 1 else np.zeros(count)

    return noise / max(float(np.sqrt(np.square(noise).mean())), 1e-12)


def _level(samples: np.ndarray) -> float:
    """Root mean square of the louder half of the samples, so that silence around a sound does not count."""
    power = np.sort(np.square(samples))[len(samples) // 2 :]
    return float(np.sqrt(power.mean()))
