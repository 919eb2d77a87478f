"""New sounds for a model that knows chirps by one voice: another voice, and a class of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sounds


def shifted(label: str, rng: np.random.Generator) -> np.ndarray:
    """int16 (T,): the other voice is higher, speaks faster and hisses."""
    samples = sounds.clip(label, rng).astype(np.float64)
    fast = np.interp(np.arange(0, len(samples), 1.45), np.arange(len(samples)), samples)
    quiet = np.zeros(len(samples))
    start = (len(samples) - len(fast)) // 2
    quiet[start : start + len(fast)] = fast
    return (quiet + 900 * rng.standard_normal(len(quiet))).clip(-32768, 32767).astype(np.int16)


def buzz(rng: np.random.Generator) -> np.ndarray:
    """int16 (T,): a square wave that is cut into beats."""
    at = np.arange(4000) / 8000
    wave = np.sign(np.sin(2 * np.pi * rng.uniform(180, 260) * at)) * (np.sin(2 * np.pi * 14 * at) > 0)
    return (rng.uniform(3000, 9000) * wave + 200 * rng.standard_normal(len(at))).astype(np.int16)


def write(folder: Path, each: int = 12) -> tuple[Path, Path]:
    """(folder/other, folder/buzz) with `each` clips a class."""
    rng = np.random.default_rng(1)
    for label in sounds.LABELS:
        for i in range(each):
            sounds.write(folder / "other" / label / f"{i}.wav", shifted(label, rng))
    for i in range(each):
        sounds.write(folder / "buzz" / "buzz" / f"{i}.wav", buzz(rng))
    return folder / "other", folder / "buzz"
