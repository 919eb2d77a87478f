"""Sounds from files, at a rate and of a length: as in edgeft/inputs/sound_file.py, resampling.py and sound.py."""

import numpy as np

from ..core.runner import Stop

INPUTS = ".wav files (other sound files with the package soundfile)"


def read(path, spec=None):
    """{"samples": int16 or float32 (T,), "rate": hertz} of a sound file, its channels averaged."""
    try:
        with open(path, "rb") as file:
            content = file.read(2**29)
    except OSError as error:
        raise Stop(3, f"{path}: cannot be read ({error})") from error

    layout = wav_layout(content, path)
    if layout is None:
        return by_soundfile(path)

    floating, channels, rate, width, start, size = layout
    count = size // (channels * width)
    stored = content[start : start + count * channels * width]
    if count == 0 or not 0 < rate <= 768000 or len(stored) != count * channels * width:
        raise Stop(3, f"{path}: empty or truncated")

    return mono(decoded(stored, floating, width), channels, rate, path)


def decoded(stored, floating, width):
    if floating:
        samples: np.ndarray = np.frombuffer(stored, f"<f{width}").astype(np.float32)
    elif width == 2:
        samples = np.frombuffer(stored, "<i2").astype(np.int16)
    elif width == 1:
        samples = (np.frombuffer(stored, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    else:
        wide = np.zeros((len(stored) // width, 4), np.uint8)
        wide[:, 4 - width :] = np.frombuffer(stored, np.uint8).reshape(-1, width)
        samples = (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    return samples


def wav_layout(content, path):
    """(floating point?, channels, rate, bytes a sample, offset, bytes) of a .wav; None where soundfile may know it."""
    wav = content[:4] == b"RIFF" and content[8:12] == b"WAVE"
    if not wav and not path.lower().endswith((".wav", ".wave")):
        return None

    total, at, form = int.from_bytes(content[4:8], "little"), 12, b""
    while wav and at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8
        if name == b"data" and len(form) >= 16:
            tag, channels, bits = (int.from_bytes(form[i : i + 2], "little") for i in (0, 2, 14))
            if tag == 0xFFFE and len(form) >= 26:  # WAVE_FORMAT_EXTENSIBLE
                tag = int.from_bytes(form[24:26], "little")
            width = (bits + 7) // 8
            if not channels or not ((tag == 1 and 1 <= width <= 4) or (tag == 3 and width in (4, 8))):
                return None
            # a size that is not known, as of a sound out of a pipe: it ends where the file does
            if (size >= 0x7FFFF000 and total >= 0x7FFFF000) or (size == 0 and total in (0, 0xFFFFFFFF)):
                size = len(content) - at
            return tag == 3, channels, int.from_bytes(form[4:8], "little"), width, at, size
        if name == b"fmt ":
            form = content[at : at + min(size, 40)]
        at += size + size % 2

    raise Stop(3, f"{path}: not readable as a .wav")


def by_soundfile(path):
    try:
        import soundfile
    except ImportError:
        raise Stop(4, f"{path}: reading it needs soundfile: pip install soundfile") from None

    try:
        values, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except Exception as error:  # errors of the library and of its C half
        raise Stop(3, f"{path}: not readable as a sound ({error})") from error

    return mono(values.reshape(-1), values.shape[1], int(rate), path)


def mono(samples, channels, rate, path):
    if samples.dtype != np.int16 and not np.isfinite(samples).all():
        raise Stop(3, f"{path}: holds samples that are not finite")
    if channels > 1:
        if samples.dtype == np.int16:
            samples = samples.astype(np.float32) / np.float32(32768)
        samples = samples.reshape(-1, channels).mean(axis=1, dtype=np.float64).astype(np.float32)
    return {"samples": samples, "rate": rate}


def fitted(samples, rate, target_rate, length, place="middle"):
    """Exactly `length` samples at `target_rate` hertz: the middle of a longer clip, zeros around a shorter one.

    At the "start": zeros behind the clip, and none that is longer.
    """
    total = -(-len(samples) * target_rate // rate)
    if place == "start" and total > length:
        raise Stop(3, f"a sound of {len(samples) / rate:.2f} s: the model hears at most {length / target_rate:.2f} s")

    start = (total - length) // 2 if total > length else 0
    count = min(total, length)
    inner = samples[start : start + count]

    if rate != target_rate:
        taps, down, half = taps_of(rate, target_rate)
        padded = np.concatenate([np.zeros(half), samples, np.zeros(half + 1)])
        inner = filtered(padded, taps, down, start, count)

    before = (length - len(inner)) // 2 if place == "middle" else 0
    return np.concatenate([np.zeros(before), inner, np.zeros(length - len(inner) - before)])


def taps_of(rate, target_rate):
    common = int(np.gcd(rate, target_rate))
    up, down = target_rate // common, rate // common
    cutoff = 0.95 * min(1.0, target_rate / rate)
    half = int(np.ceil(24 / cutoff))
    if up * (2 * half + 1) > 2**24:
        raise Stop(3, f"a sound of {rate} Hz cannot be brought to {target_rate} Hz")

    distance = np.arange(-half, half + 1) - (np.arange(up) / up)[:, None]
    inside = np.sqrt(np.maximum(1 - np.square(distance / (half + 1)), 0.0))
    taps = np.sinc(cutoff * distance) * np.i0(8.0 * inside)
    return taps / taps.sum(axis=1, keepdims=True), down, half


def filtered(padded, taps, down, start, count, offset=0):
    """Outputs of the resampler; `padded` has the samples from position `offset` on, zeros before the first one."""
    (up, width), parts = taps.shape, [np.zeros(0)]
    windows = np.lib.stride_tricks.as_strided(padded, (len(padded) - width + 1, width), padded.strides * 2)
    for block in range(start, start + count, 8192):
        n = np.arange(block, min(block + 8192, start + count))
        parts.append((windows[n * down // up - offset] * taps[n * down % up]).sum(axis=1))
    return np.concatenate(parts)


def stored(samples, i):
    return {key: samples[f"raw_{i}/{key}"] for key in ("samples", "rate")}
