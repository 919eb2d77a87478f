"""Sound files to raw samples: .wav by numpy alone (`wav_file.py`), everything else by soundfile."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, need
from . import wav_file

#: a file with more samples (all channels together) is refused before it is read: about 12 minutes of CD sound
MAX_SAMPLES = 2**26
MAX_RATE = 768_000


def read(path: str | Path) -> dict[str, Any]:
    """{"samples": int16 or float32 (T,), "rate": hertz} of a sound file, its channels averaged.

    .wav files of PCM and floating point need numpy alone, everything else soundfile. 16-bit mono stays int16; all else
    becomes float32 of full scale 1. Raises `DataError` naming the file (absent, empty, truncated, no sound), and
    `Missing` where soundfile is needed and absent.
    """
    path = Path(path)
    layout = _wav(path)
    if layout is None:
        return _soundfile(path)

    _check_whole(layout, path)
    with path.open("rb") as file:
        file.seek(layout.start)
        stored = file.read(layout.frames * layout.channels * layout.width)

    samples = wav_file.samples(stored, layout.tag, layout.width)
    if samples.dtype != np.int16 and not np.isfinite(samples).all():
        raise DataError("holds samples that are not finite", where=str(path), remedy="record or write it again")

    return {"samples": mono(samples, layout.channels), "rate": layout.rate}


def probe(path: str | Path) -> tuple[int, int]:
    """Rate in hertz and samples a channel, from the header alone; raises as `read` does."""
    path = Path(path)
    layout = _wav(path)
    if layout is not None:
        return layout.rate, layout.frames

    try:
        info = need("soundfile", "audio").info(str(path))
        _check_size(info.frames, info.samplerate, path)
    except RuntimeError as error:
        raise DataError(f"not readable as a sound ({error})", where=str(path)) from error

    return int(info.samplerate), int(info.frames)


def wav_layout(path: Path) -> wav_file.Layout | None:
    """What is in a .wav file of any length, all of which is there; None of another kind. Raises `DataError`."""
    layout = _wav(path, most=math.inf)
    if layout is not None:
        _check_whole(layout, path)

    return layout


def _check_whole(layout: wav_file.Layout, path: Path) -> None:
    # a header may claim more than there is, and memory is taken before anything is read
    if layout.start + layout.frames * layout.channels * layout.width > path.stat().st_size:
        problem = f"truncated: the header promises {layout.size} bytes of sound, more than there are"
        raise DataError(problem, where=str(path))


def _wav(path: Path, most: float = MAX_SAMPLES) -> wav_file.Layout | None:
    """What is in a .wav file, or None where the file is of another kind that soundfile may know."""
    if not path.is_file():
        raise DataError("no such file" if not path.exists() else "is not a regular file", where=str(path))

    try:
        with path.open("rb") as file:
            layout = wav_file.layout(file, path.stat().st_size)
    except ValueError as error:
        if path.suffix.lower() not in (".wav", ".wave"):
            return None
        raise DataError(f"not readable as a sound ({error})", where=str(path)) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error

    if layout is not None:
        _check_size(layout.frames * layout.channels, layout.rate, path, most)

    return layout


def _check_size(samples: int, rate: int, path: Path, most: float = MAX_SAMPLES) -> None:
    if samples == 0:
        raise DataError("holds no sound", where=str(path))
    if samples > most or not 0 < rate <= MAX_RATE:
        raise DataError(
            f"has {samples} samples at {rate} Hz: at most {MAX_SAMPLES} at up to {MAX_RATE} Hz are read",
            where=str(path),
            remedy="cut it into clips",
        )


def mono(samples: np.ndarray, channels: int) -> np.ndarray:
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
            return {"samples": mono(samples.reshape(-1), file.channels), "rate": int(file.samplerate)}
    except DataError:
        raise
    except Exception as error:  # the library raises errors of its own and of its C half
        raise DataError(f"not readable as a sound ({error})", where=str(path)) from error
