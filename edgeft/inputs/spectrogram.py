"""A sound as a page shows it: its waveform above its spectrogram, and the samples to listen to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import sound

#: columns and rows of the picture, decibels that its colours span, and seconds that are shown
WIDTH, WAVE, BANDS, SPAN, SECONDS = 320, 56, 120, 70.0, 15.0
#: colours from silent to loud, as matplotlib's magma
_RAMP = np.array([(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)], np.float64)


def shown(raw: Mapping[str, Any]) -> dict[str, Any]:
    """`image`: uint8 (H, W, 3) of at most the first 15 seconds; `sound`: the same samples and their rate in hertz."""
    rate = int(raw["rate"])
    samples = np.asarray(raw["samples"])[: int(SECONDS * rate)]
    wave = np.repeat(sound.picture({"samples": samples, "rate": rate}, WAVE, WIDTH)[:, :, None], 3, axis=2)
    gap = np.full((4, WIDTH, 3), 255, np.uint8)
    picture = np.concatenate([wave, gap, pixels(samples)])
    return {"image": picture, "wide": True, "sound": {"samples": samples, "rate": rate}}


def pixels(samples: np.ndarray) -> np.ndarray:
    """The power spectrum over time in decibels as uint8 (BANDS, WIDTH, 3), low frequencies below, loud parts bright."""
    values = np.asarray(samples, np.float64)
    values = values / 32768 if np.asarray(samples).dtype.kind == "i" else values
    window = 256
    padded = np.pad(values, (0, max(0, window - len(values))))
    starts = np.linspace(0, len(padded) - window, WIDTH).astype(int)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    decibels = 10 * np.log10(power + 1e-12)
    level = np.clip(1 + (decibels - decibels.max()) / SPAN, 0, 1)
    rows = np.linspace(level.shape[1] - 1, 0, BANDS).astype(int)
    place = level[:, rows].T * (len(_RAMP) - 1)
    below = np.minimum(place.astype(int), len(_RAMP) - 2)
    share = (place - below)[..., None]
    colours: np.ndarray = np.round(_RAMP[below] * (1 - share) + _RAMP[below + 1] * share).astype(np.uint8)

    return colours
