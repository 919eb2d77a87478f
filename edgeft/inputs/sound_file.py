"""Sound files to raw samples: PCM .wav by the standard library alone, everything else by soundfile."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, need

#: a file with more samples (all channels together) is refused before it is read: about 12 minutes of CD sound
MAX_SAMPLES = 2**26
MAX_RATE = 768_000


def read(path: str | Path) -> dict[str, Any]:
    """{"samples": int16 or float32 (T,), "rate": hertz} of a sound file, its channels averaged.

    PCM .wav files need the standard library alone, everything else soundfile. 16-bit mono stays int16; all else becomes
    float32 of full scale 1. Raises `DataError` naming the file (absent, empty, truncated, no sound), and `Missing`
    where soundfile is needed and absent.
    """
    path = Path(path)
    opened = _wave(path)
    if opened is None:
        return _soundfile(path)
    with opened as file:
        channels, width, rate, count = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
        _check_size(count * channels, rate, path)
        size = count * channels * width
        # a header may claim more than there is, and memory is taken before anything is read
        stored = file.readframes(count) if size <= path.stat().st_size else b""
    if len(stored) != size:
        raise DataError(f"truncated: the header tells of {size} bytes of sound, more than there are", where=str(path))
    return {"samples": _mono(_pcm(stored, width), channels), "rate": rate}


def probe(path: str | Path) -> tuple[int, int]:
    """Rate in hertz and samples a channel, from the header alone; raises as `read` does."""
    path = Path(path)
    opened = _wave(path)
    if opened is not None:
        with opened as file:
            _check_size(file.getnframes(), file.getframerate(), path)
            return file.getframerate(), file.getnframes()
    try:
        info = need("soundfile", "audio").info(str(path))
        _check_size(info.frames, info.samplerate, path)
    except RuntimeError as error:
        raise DataError(f"not readable as a sound ({error})", where=str(path)) from error
    return int(info.samplerate), int(info.frames)


def _wave(path: Path) -> wave.Wave_read | None:
    """A PCM .wav file opened, or None where the file is of another kind that soundfile may know."""
    if not path.is_file():
        raise DataError("no such file" if not path.exists() else "is not a regular file", where=str(path))
    try:
        file = wave.open(str(path), "rb")  # noqa: SIM115 # handed to the caller
        if 1 <= file.getsampwidth() <= 4:
            return file
        file.close()
        raise wave.Error(f"{file.getsampwidth()} bytes a sample")
    except (wave.Error, EOFError, RuntimeError) as error:  # the last where chunks are longer than the file
        if path.suffix.lower() not in (".wav", ".wave") or "unknown format" in str(error):
            return None
        raise DataError(f"not readable as a sound ({str(error) or 'it ends too early'})", where=str(path)) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error


def _check_size(samples: int, rate: int, path: Path) -> None:
    if samples == 0:
        raise DataError("holds no sound", where=str(path))
    if samples > MAX_SAMPLES or not 0 < rate <= MAX_RATE:
        raise DataError(
            f"has {samples} samples at {rate} Hz: at most {MAX_SAMPLES} at up to {MAX_RATE} Hz are read",
            where=str(path),
            remedy="cut it into clips",
        )


def _pcm(stored: bytes, width: int) -> np.ndarray:
    """int16 of 16-bit samples, float32 of full scale 1 of the others (8-bit ones are unsigned in a .wav)."""
    if width == 2:
        return np.frombuffer(stored, "<i2").astype(np.int16)
    if width == 1:
        return (np.frombuffer(stored, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    if width == 4:
        return (np.frombuffer(stored, "<i4") / 2.0**31).astype(np.float32)
    wide = np.zeros((len(stored) // 3, 4), np.uint8)  # 24 bits: the upper three bytes of an int32
    wide[:, 1:] = np.frombuffer(stored, np.uint8).reshape(-1, 3)
    return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)


def _mono(samples: np.ndarray, channels: int) -> np.ndarray:
    """The mean of the channels; one channel is left as it is."""
    if channels == 1:
        return samples
    if samples.dtype == np.int16:
        samples = samples.astype(np.float32) / np.float32(32768)
    mono: np.ndarray = samples.reshape(-1, channels).mean(axis=1, dtype=np.float64).astype(np.float32)
    return mono


def _soundfile(path: Path) -> dict[str, Any]:
    library = need("soundfile", "audio")
    try:
        with library.SoundFile(str(path)) as file:
            _check_size(file.frames * file.channels, file.samplerate, path)
            samples = file.read(dtype="float32", always_2d=True)
            if len(samples) != file.frames:
                raise DataError(f"truncated: {len(samples)} of {file.frames} samples", where=str(path))
            if not np.isfinite(samples).all():
                raise DataError("holds samples that are not finite", where=str(path), remedy="record or write it again")
            return {"samples": _mono(samples.reshape(-1), file.channels), "rate": int(file.samplerate)}
    except DataError:
        raise
    except Exception as error:  # the library raises errors of its own and of its C half
        raise DataError(f"not readable as a sound ({error})", where=str(path)) from error
