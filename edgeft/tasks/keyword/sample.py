"""A recording with its class for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...inputs import spectrogram
from ..show import show as plain
from . import decoding


def suits(keys: Mapping[str, Any]) -> bool:
    """Recordings without transcripts have classes."""
    return not keys.get("units")


def show(split: Any, i: int, labels: Sequence[str]) -> dict[str, Any]:
    """Waveform and spectrogram, and the sound itself; of stored features their picture."""
    raw, target = split.raw(i), split.targets[i]
    shown = spectrogram.shown(raw) if isinstance(raw, Mapping) and "samples" in raw else plain(raw)
    return {**shown, "caption": decoding.describe(target, labels)}
