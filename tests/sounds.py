"""Sounds made in the test: tones and chirps as classes, written as .wav by the standard library."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

LABELS = ("fall", "rise", "tone")


def clip(label: str, rng: np.random.Generator, rate: int = 8000, seconds: float = 0.5) -> np.ndarray:
    """int16 (T,): a chirp or a tone of random pitch, loudness and place, in noise."""
    n = int(rate * seconds)
    low, high = rng.uniform(300, 700), rng.uniform(1800, 3000)
    sweep = np.linspace(0, 1, n)
    pitch = {
        "rise": low + (high - low) * sweep,
        "fall": high - (high - low) * sweep,
        "tone": np.full(n, (low + high) / 2),
    }
    phase = 2 * np.pi * np.cumsum(pitch[label]) / rate
    loud = rng.uniform(0.1, 0.5) * np.hanning(n)
    return np.round(32767 * (loud * np.sin(phase) + 0.01 * rng.standard_normal(n)).clip(-1, 1)).astype(np.int16)


def write(path: Path, samples: np.ndarray, rate: int = 8000, width: int = 2) -> Path:
    """`samples` (T,) or (T, channels) as a PCM .wav: int16, or bytes of `width` that are already stored samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1] if samples.ndim == 2 and width == 2 else 1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def write_folder(root: Path, counts: dict[str, int], *, rate: int = 8000) -> Path:
    """{split: clips a class} as root/split/label/*.wav."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for label in LABELS:
            for i in range(count):
                write(root / split / label / f"{i:03}.wav", clip(label, rng, rate), rate)
    return root
