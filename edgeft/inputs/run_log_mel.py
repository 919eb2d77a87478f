"""Log mel spectrograms of Whisper: the same arithmetic in the same order as edgeft/inputs/log_mel.py."""

import numpy as np

from .run_clip import fitted


def feeds(raw, spec):
    """{input: float32 (1, mels, frames)} of a sound, zeros behind it."""
    samples = raw["samples"].astype(np.float64)
    if raw["samples"].dtype == np.int16:
        samples = samples / 32768.0

    clip = fitted(samples, int(raw["rate"]), spec["rate"], spec["length"], "start")
    size, hop, frames = spec["window"], spec["hop"], spec["length"] // spec["hop"]
    mirrored = np.pad(clip, size // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    pieces = mirrored[hop * np.arange(frames)[:, None] + np.arange(size)]
    spectrum = np.fft.rfft(pieces * window)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    levels = np.log10(np.maximum(power @ mel_filters(spec["rate"], size, spec["mels"]), 1e-10))
    levels = (np.maximum(levels, levels.max() - 8.0) + 4.0) / 4.0

    return {spec["input"]: np.ascontiguousarray(levels.T[None], np.float32)}


def mel_filters(rate, fft, mels):
    """Triangles of equal area on Slaney's mel scale, (fft // 2 + 1, mels)."""
    steps = 27.0 / np.log(6.4)
    scale = np.linspace(0.0, 15.0 + np.log(8000.0 / 1000.0) * steps, mels + 2)
    edges = np.where(scale < 15.0, scale * (200.0 / 3.0), 1000.0 * np.exp((scale - 15.0) / steps))
    lines = np.linspace(0, rate // 2, fft // 2 + 1)[:, None]
    rising = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))


def tolerance(spec):
    """Other numpy versions sum in another order."""
    return 1e-4
