"""A recording with its transcript for a page, and how often each token occurs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...inputs import spectrogram
from ..record import LabelCounts
from . import decoding


def suits(keys: Mapping[str, Any]) -> bool:
    """Recordings with transcripts, which `data.units` divides into tokens."""
    return bool(keys.get("units"))


def show(split: Any, i: int, labels: Sequence[str]) -> dict[str, Any]:
    """Waveform and spectrogram, the sound itself, and what is said in it."""
    raw, target = split.raw(i), split.targets[i]
    return {**spectrogram.shown(raw), "caption": decoding.describe(target, labels)}


def count(split: Any, labels: Sequence[str]) -> LabelCounts:
    """How often each token (a word or a character) occurs; tokens number from 1."""
    counts = np.zeros(len(labels), np.int64)
    for target in split.targets:
        tokens = np.asarray(target["tokens"], np.int64)
        counts += np.bincount(tokens[tokens > 0] - 1, minlength=len(labels))
    return LabelCounts("tokens", counts, balance=False)
