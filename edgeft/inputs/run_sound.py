"""Features of sounds: the same arithmetic in the same order as edgeft/inputs/sound.py."""

import numpy as np

from .run_clip import fitted


def preprocess(raw, spec):
    samples = raw["samples"].astype(np.float64)
    if raw["samples"].dtype == np.int16:
        samples = samples / 32768.0
    clip = fitted(samples, int(raw["rate"]), spec["rate"], spec["length"], spec.get("place", "middle"))
    frames = 1 + (spec["length"] - spec["window"]) // spec["hop"]
    pieces = clip[spec["hop"] * np.arange(frames)[:, None] + np.arange(spec["window"])]
    return of_energies(*energies(pieces, spec), spec=spec)


def energies(pieces, spec):
    """Mel energies and levels of frames, each with the same bits whatever frames stand beside it."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec["window"]) / spec["window"])
    spectrum = np.fft.rfft(pieces * window, spec["fft"])
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    low, high = (2595.0 * np.log10(1.0 + f / 700.0) for f in (spec["fmin"], spec["fmax"]))
    edges = 700.0 * (10.0 ** (np.linspace(low, high, spec["mels"] + 2) / 2595.0) - 1.0)
    lines = (np.arange(spec["fft"] // 2 + 1) * spec["rate"] / spec["fft"])[:, None]
    rising = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines) / (edges[2:] - edges[1:-1])
    bank = np.maximum(0.0, np.minimum(rising, falling))

    return np.matmul(power[:, None], bank)[:, 0], np.sqrt(np.square(pieces).mean(axis=1))


def of_energies(x, levels, spec):
    if spec.get("level_floor"):  # the loudest frame gets the same level, however loud the sound is
        gain = 0.1 / max(float(levels.max()), spec["level_floor"])
        x = x * gain * gain

    x = np.log(x + spec["floor"])
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
