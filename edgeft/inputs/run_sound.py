"""Sounds: the same arithmetic in the same order as edgeft/inputs/sound.py and sound_file.py."""

import os

import numpy as np

from ..core.runner import Stop

INPUTS = "PCM .wav files"


def read(path):
    """{"samples": int16 or float32 (T,), "rate": hertz} of a PCM .wav file, its channels averaged."""
    import wave

    try:
        with wave.open(path, "rb") as file:
            channels, width, rate, count = (
                file.getnchannels(),
                file.getsampwidth(),
                file.getframerate(),
                file.getnframes(),
            )
            held = count * channels * width <= os.path.getsize(path)  # what the header claims may not be there
            stored = file.readframes(count) if held else b""
    except (OSError, EOFError, RuntimeError, wave.Error) as error:
        raise Stop(3, f"{path}: not readable as a PCM .wav ({error})") from error
    if count == 0 or not 0 < rate <= 768000 or width > 4 or len(stored) != count * channels * width:
        raise Stop(3, f"{path}: empty or truncated")
    if width == 2:
        samples: np.ndarray = np.frombuffer(stored, "<i2").astype(np.int16)
    elif width == 1:
        samples = (np.frombuffer(stored, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    else:
        wide = np.zeros((len(stored) // width, 4), np.uint8)
        wide[:, 4 - width :] = np.frombuffer(stored, np.uint8).reshape(-1, width)
        samples = (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    if channels > 1:
        if width == 2:
            samples = samples.astype(np.float32) / np.float32(32768)
        samples = samples.reshape(-1, channels).mean(axis=1, dtype=np.float64).astype(np.float32)
    return {"samples": samples, "rate": rate}


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


def fitted(samples, rate, target_rate, length, place="middle"):
    """Exactly `length` samples at `target_rate` hertz: the middle of a longer clip, zeros around a shorter one.

    At the "start": zeros behind the clip, and none that is longer.
    """
    total = -(-len(samples) * target_rate // rate)
    if place == "start" and total > length:
        raise Stop(3, f"a sound of {len(samples) / rate:.2f} s: the model hears at most {length / target_rate:.2f} s")
    start = (total - length) // 2 if total > length else 0
    count = min(total, length)
    if rate == target_rate:
        inner = samples[start : start + count]
    else:
        common = int(np.gcd(rate, target_rate))
        up, down = target_rate // common, rate // common
        cutoff = 0.95 * min(1.0, target_rate / rate)
        half = int(np.ceil(24 / cutoff))
        if up * (2 * half + 1) > 2**24:
            raise Stop(3, f"a sound of {rate} Hz cannot be brought to {target_rate} Hz")
        distance = np.arange(-half, half + 1) - (np.arange(up) / up)[:, None]
        inside = np.sqrt(np.maximum(1 - np.square(distance / (half + 1)), 0.0))
        taps = np.sinc(cutoff * distance) * np.i0(8.0 * inside)
        taps = taps / taps.sum(axis=1, keepdims=True)
        padded, parts = np.concatenate([np.zeros(half), samples, np.zeros(half + 1)]), []
        windows = np.lib.stride_tricks.as_strided(padded, (len(samples) + 1, 2 * half + 1), padded.strides * 2)
        for block in range(start, start + count, 8192):
            n = np.arange(block, min(block + 8192, start + count))
            parts.append((windows[n * down // up] * taps[n * down % up]).sum(axis=1))
        inner = np.concatenate(parts)
    before = (length - len(inner)) // 2 if place == "middle" else 0
    return np.concatenate([np.zeros(before), inner, np.zeros(length - len(inner) - before)])


def feeds(raw, spec):
    return {spec["input"]: preprocess(raw, spec)}


def stored(samples, i):
    return {key: samples[f"raw_{i}/{key}"] for key in ("samples", "rate")}


def tolerance(spec):
    """Other numpy versions sum in another order."""
    return 1e-4
