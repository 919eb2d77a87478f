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


def write_folder(root: Path, counts: dict[str, int], *, rate: int = 8000, seconds: float = 0.5) -> Path:
    """{split: clips a class} as root/split/label/*.wav."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for label in LABELS:
            for i in range(count):
                write(root / split / label / f"{i:03}.wav", clip(label, rng, rate, seconds), rate)
    return root


def sentence(rng: np.random.Generator, most: int = 3, rate: int = 8000) -> tuple[np.ndarray, list[str]]:
    """int16 (T,) of one to `most` clips with silence between and around them, and their labels in order."""
    labels = [str(label) for label in rng.choice(LABELS, rng.integers(1, most + 1))]
    parts = [np.zeros(int(rate * rng.uniform(0.05, 0.1)), np.int16)]
    for label in labels:
        parts += [clip(label, rng, rate, 0.25), np.zeros(int(rate * rng.uniform(0.05, 0.1)), np.int16)]
    return np.concatenate(parts), labels


def write_sentences(root: Path, counts: dict[str, int], *, rate: int = 8000) -> Path:
    """{split: sentences} as root/split/0000.wav and so on, with root/split/metadata.csv."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        lines = ["file,text"]
        for i in range(count):
            samples, labels = sentence(rng, rate=rate)
            write(root / split / f"{i:04}.wav", samples, rate)
            lines.append(f"{i:04}.wav,{' '.join(labels)}")
        (root / split / "metadata.csv").write_text("\n".join(lines) + "\n")
    return root
