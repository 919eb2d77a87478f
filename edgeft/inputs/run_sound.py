"""Features of sounds: the same arithmetic in the same order as edgeft/inputs/sound.py."""

import numpy as np

from .run_clip import fitted


def preprocess(raw, spec):
    samples = raw["samples"].astype(np.float64)
    if raw["samples"].dtype == np.int16:
        samples = samples / 32768.0
    clip = fitted(samples, int(raw["rate"]), spec["rate"], spec["length"], spec.get("place", "middle"))
    size, frames = spec["window"], 1 + (spec["length"] - spec["window"]) // spec["hop"]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    pieces = clip[spec["hop"] * np.arange(frames)[:, None] + np.arange(size)]
    if spec.get("level_floor"):  # the loudest frame gets the same level, however loud the sound is
        pieces = pieces * (0.1 / max(float(np.sqrt(np.square(pieces).mean(axis=1).max())), spec["level_floor"]))
    spectrum = np.fft.rfft(pieces * window, spec["fft"])
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    low, high = (2595.0 * np.log10(1.0 + f / 700.0) for f in (spec["fmin"], spec["fmax"]))
    edges = 700.0 * (10.0 ** (np.linspace(low, high, spec["mels"] + 2) / 2595.0) - 1.0)
    lines = (np.arange(spec["fft"] // 2 + 1) * spec["rate"] / spec["fft"])[:, None]
    rising = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines) / (edges[2:] - edges[1:-1])
    x = np.log(power @ np.maximum(0.0, np.minimum(rising, falling)) + spec["floor"])
    if spec["coefficients"]:
        mels, k = spec["mels"], np.arange(spec["coefficients"])
        angles = np.pi / mels * (np.arange(mels)[:, None] + 0.5) * k
        x = x @ (np.cos(angles) * np.where(k == 0, np.sqrt(1 / mels), np.sqrt(2 / mels)))
    x = ((x - np.asarray(spec["mean"], np.float64)) / np.asarray(spec["std"], np.float64)).astype(np.float32)
    return np.ascontiguousarray(x[None, None] if spec["layout"] == "NCHW" else x[None, :, :, None])


def feeds(raw, spec):
    return {spec["input"]: preprocess(raw, spec)}


def tolerance(spec):
    """Other numpy versions sum in another order."""
    return 1e-4
