"""Sounds: make the graph's input tensor (log-mel or MFCC features) from raw samples. Files: `sound_file.py`.

Mono mix, resampling, a fixed length, frames under a periodic Hann window, power spectrum, mel filter
bank, natural logarithm, optionally a cosine transform, and mean and std by feature:

- the mel scale is HTK's, mel = 2595 log10(1 + f / 700) (O'Shaughnessy 1987; Young et al., The HTK Book), with
  triangular filters of height 1 that are linear in hertz (as torchaudio's `mel_scale="htk", norm=None`);
- MFCCs are the orthonormal DCT-II of the log energies (Davis and Mermelstein 1980), the first `coefficients` of them;
- resampling is by a windowed sinc (`resampling.py`).

With a `level_floor` above 0 the level is normalized: samples are scaled so that the root mean square of the loudest
frame is `LEVEL` (20 dB below full scale). The floor is the lowest level that a loudest frame is taken to have, so that
silence stays silence. Features of a sound then do not depend on how loud it was recorded.

Where a clip lies in the fixed length is the table's `place`. "middle" (what a table without the key means): around its
middle, and of longer clips only that. "start": from the beginning, zeros behind it, and longer clips are refused.

Everything is float64 until the tensor is made. The same arithmetic in the same order is in the bundle's `run.py`
(edgeft/inputs/run_sound.py); a test holds both bit-equal.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..core.errors import BundleError, DataError, RecipeError, nearest
from .resampling import resample
from .sound_file import MAX_RATE

KIND = "sound"
#: in the recipe's [data] table `sound`: what MLPerf Tiny's keyword spotting takes, in seconds, hertz and counts.
#: A `rate` or `fmax` of 0 stands for what the data allows.
DEFAULTS: dict[str, float] = {
    "rate": 0,
    "seconds": 1.0,
    "window": 0.030,
    "hop": 0.020,
    "mels": 40,
    "fmin": 20.0,
    "fmax": 4000.0,
    "coefficients": 10,
    "floor": 1e-6,
    "level_floor": 0.0,
}
#: root mean square of the loudest frame of a sound whose level is normalized (a full-scale sample is 1)
LEVEL = 0.1
#: speech holds little above 8 kHz; a higher rate must be asked for
HIGHEST_OWN_RATE = 16_000


@dataclass(frozen=True)
class Spec:
    """The manifest's `preprocess` table, checked. `mean` and `std` are float64, one number a feature."""

    rate: int  # hertz
    length: int  # samples
    window: int  # samples of a frame
    hop: int  # samples from frame to frame
    fft: int  # samples of a frame with zeros behind it
    mels: int
    fmin: float  # hertz
    fmax: float
    coefficients: int  # 0 = the log mel energies themselves
    floor: float  # added to the energies before the logarithm (a full-scale sample is 1)
    mean: np.ndarray
    std: np.ndarray
    layout: str  # NCHW: (1, 1, frames, features); NHWC: (1, frames, features, 1)
    input: str
    place: str = "middle"  # middle | start
    level_floor: float = 0.0  # least level of a loudest frame, root mean square; 0 = the level is not normalized

    @property
    def frames(self) -> int:
        return 1 + (self.length - self.window) // self.hop

    @property
    def features(self) -> int:
        return self.coefficients or self.mels


_KEYS = ("kind", *(field.name for field in fields(Spec)))
_OPTIONAL = ("place", "level_floor")
_COUNTS = {"rate": MAX_RATE, "length": 2**24, "window": 2**16, "hop": 2**16, "fft": 2**16, "mels": 512}


def configure(
    data: Any,
    defaults: Mapping[str, Any],
    facts: Mapping[str, Any],
    say: Callable[[str], None],
    standard: Mapping[str, float] = DEFAULTS,
) -> dict[str, Any]:
    """The `preprocess` table from the recipe's `data.sound`, where the data's own rate fills what is left open.

    `standard` has what a task takes where the recipe says nothing. Mean and std are 0 and 1 until `measure` has seen
    the training samples. Raises `RecipeError` naming the key.
    """
    values = {**standard, **stated(data, standard)}
    native_rate = int(facts.get("rate", HIGHEST_OWN_RATE))
    rate = int(values["rate"]) or min(native_rate, HIGHEST_OWN_RATE)

    if rate > native_rate:
        say(
            f"warning: data.sound.rate = {rate} Hz, but the recordings' {native_rate} Hz hold nothing above "
            f"{native_rate // 2} Hz"
        )

    window = round(values["window"] * rate)
    table = {
        "kind": KIND,
        "rate": rate,
        "length": round(values["seconds"] * rate),
        "window": window,
        "hop": round(values["hop"] * rate),
        "fft": 1 << max(0, window - 1).bit_length(),
        "mels": int(values["mels"]),
        "fmin": float(values["fmin"]),
        "fmax": float(min(values["fmax"] or rate / 2, rate / 2)),
        "coefficients": int(values["coefficients"]),
        "floor": float(values["floor"]),
        "level_floor": float(values["level_floor"]),
        "mean": [0.0] * int(values["coefficients"] or values["mels"]),
        "std": [1.0] * int(values["coefficients"] or values["mels"]),
        "layout": "NCHW",
        "input": "x",
    }

    try:
        check(table)
    except BundleError as error:
        raise RecipeError(f"cannot be followed: {error}", where="data.sound") from error

    _check_filters(table)
    longest = float(facts.get("seconds", 0.0))
    if longest > values["seconds"]:
        say(
            f"note: one clip in twenty is longer than {longest:.2f} s, and only the middle {values['seconds']:g} s are "
            "used (data.sound.seconds)"
        )

    return table


def stated(data: Any, standard: Mapping[str, float]) -> dict[str, float]:
    """The numbers of the recipe's `data.sound`; raises `RecipeError` naming the key that is unknown or out of range."""
    stated = dict(getattr(data, "sound", {}) or {})
    for key, value in stated.items():
        if key not in standard:
            problem = f"has {key!r}, which belongs to features, and this model reads the sound itself"
            remedy = f"leave it out: {nearest(key, standard)}"
            raise RecipeError(problem if key in DEFAULTS else f"unknown key {key!r}", where="data.sound", remedy=remedy)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= MAX_RATE:
            raise RecipeError(f"is {value!r}, expected a number from 0 to {MAX_RATE}", where=f"data.sound.{key}")

    if getattr(data, "mean", ()):
        raise RecipeError("is for pictures", where="data.mean", remedy="features are measured over the training split")

    return stated


def _check_filters(table: Mapping[str, Any]) -> None:
    """Raise `RecipeError` where a mel filter lies between two lines of the spectrum and would always be 0."""
    bank = filters(table["rate"], table["fft"], table["mels"], table["fmin"], table["fmax"])
    empty = np.flatnonzero(bank.sum(axis=0) == 0)
    if empty.size:
        raise RecipeError(
            f"{table['mels']} mel filters from {table['fmin']:g} to {table['fmax']:g} Hz leave {empty.size} of them "
            f"between the lines of a {table['fft']}-point spectrum at {table['rate']} Hz",
            where="data.sound",
            remedy="lower mels, or give a longer window",
        )


def measure(spec: Mapping[str, Any], raws: Iterable[Any]) -> dict[str, Any]:
    """`spec` with the mean and std of each feature over all frames of `raws`, summed in order: same samples, same bits.

    Zeros behind a clip that stands at the start are no frames of it. A feature that never changes gets std 1. Values
    are rounded to float32, which the manifest then holds exactly.
    """
    plain = check({**spec, "mean": [0.0] * len(spec["mean"]), "std": [1.0] * len(spec["std"])})
    count, total, squares = 0, np.zeros(plain.features), np.zeros(plain.features)
    for raw in raws:
        frames = features(raw, plain)[: heard(raw, plain)]
        count += len(frames)
        total += frames.sum(axis=0)
        squares += np.square(frames).sum(axis=0)

    mean = total / max(count, 1)
    std = np.sqrt(np.maximum(squares / max(count, 1) - np.square(mean), 0.0))
    std = np.where(std > 1e-4, std, 1.0)
    return {**spec, "mean": mean.astype(np.float32).tolist(), "std": std.astype(np.float32).tolist()}


def check(spec: Mapping[str, Any]) -> Spec:
    """`spec` as a `Spec`; raises `BundleError` naming the key that is missing, unknown or out of range."""
    for key in spec:
        if key not in _KEYS:
            raise BundleError(f"unknown key {key!r}", where="preprocess", remedy=nearest(key, _KEYS))

    for key in _KEYS:
        if key not in spec and key not in _OPTIONAL:
            raise BundleError("the key is missing", where=f"preprocess.{key}")

    def fail(key: str, expected: str) -> BundleError:
        return BundleError(f"is {spec[key]!r}, expected {expected}", where=f"preprocess.{key}")

    if spec["kind"] != KIND:
        raise fail("kind", "'sound'")

    for key, most in _COUNTS.items():
        if type(spec[key]) is not int or not 1 <= spec[key] <= most:
            raise fail(key, f"a whole number from 1 to {most}")

    for key in ("fmin", "fmax", "floor", "level_floor"):
        if not _numbers([spec.get(key, 0.0)], 1) or spec.get(key, 0.0) < 0:
            raise fail(key, "a number that is not negative")

    if not spec["fmin"] < spec["fmax"] <= spec["rate"] / 2:
        raise fail("fmax", f"hertz above fmin and at most half the rate, {spec['rate'] / 2:g}")
    if spec["floor"] == 0:
        raise fail("floor", "a number above 0: silence has no logarithm")
    if spec["window"] > spec["length"]:
        raise fail("window", f"at most the length, {spec['length']} samples")
    if spec["fft"] < spec["window"]:
        raise fail("fft", f"at least the window, {spec['window']} samples")
    if type(spec["coefficients"]) is not int or not 0 <= spec["coefficients"] <= spec["mels"]:
        raise fail("coefficients", f"a whole number from 0 to mels, {spec['mels']}")

    for key in ("mean", "std"):
        if not _numbers(spec[key], spec["coefficients"] or spec["mels"]):
            raise fail(key, f"{spec['coefficients'] or spec['mels']} finite numbers, one a feature")

    if not all(value > 0 for value in spec["std"]):
        raise fail("std", "numbers above 0")
    if spec["layout"] not in ("NCHW", "NHWC"):
        raise fail("layout", "'NCHW' or 'NHWC'")
    if not isinstance(spec["input"], str) or not spec["input"]:
        raise fail("input", "the name of the graph's input")
    if spec.get("place", "middle") not in ("middle", "start"):
        raise fail("place", "'middle' or 'start'")

    arrays = {key: np.asarray(spec[key], np.float64) for key in ("mean", "std")}
    return Spec(**{key: spec[key] for key in _KEYS[1:] if key in spec} | arrays)


def _numbers(value: Any, length: int) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == length
        and all(type(item) in (int, float) and math.isfinite(item) for item in value)
    )


# --- features ---------------------------------------------------------------------------------------------------------


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (1, 1, frames, features)} (NHWC: (1, frames, features, 1)) of a raw sound.

    Raises `DataError` for samples of another dtype or shape, that are not finite or too long for a clip at the start,
    and `BundleError` for a spec that cannot be followed.
    """
    settings = check(spec)
    return feed(features(raw, settings), settings)


def feed(values: np.ndarray, spec: Spec) -> dict[str, np.ndarray]:
    """{input name: float32} of features (frames, features), with mean 0 and std 1."""
    x = ((values - spec.mean) / spec.std).astype(np.float32)
    return {spec.input: np.ascontiguousarray(x[None, None] if spec.layout == "NCHW" else x[None, :, :, None])}


def features(raw: Any, spec: Spec) -> np.ndarray:
    """Log mel energies or MFCCs, float64 (frames, features), before mean and std."""
    samples, rate = checked(raw)
    clip = fit(samples, rate, spec.rate, spec.length, spec.place)
    return of_energies(*energies(clip[spec.hop * np.arange(spec.frames)[:, None] + np.arange(spec.window)], spec), spec)


def energies(frames: np.ndarray, spec: Spec) -> tuple[np.ndarray, np.ndarray]:
    """Mel energies float64 (n, mels) and levels (n,), root mean squares, of `frames` float64 (n, window).

    A frame has the same bits whatever frames stand beside it, so that a stream can be computed frame by frame: BLAS,
    which sums in another order where it is handed another number of rows, is called a row at a time.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.window) / spec.window)
    spectrum = np.fft.rfft(frames * window, spec.fft)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    bank = filters(spec.rate, spec.fft, spec.mels, spec.fmin, spec.fmax)
    return np.matmul(power[:, None], bank)[:, 0], np.sqrt(np.square(frames).mean(axis=1))


def of_energies(energies: np.ndarray, levels: np.ndarray, spec: Spec) -> np.ndarray:
    """Log mel energies or MFCCs, float64 (frames, features), of what `energies` gives; a normalized level is that of
    the loudest of these frames."""
    if spec.level_floor:
        gain = LEVEL / max(float(levels.max()), spec.level_floor)
        energies = energies * gain * gain
    logarithms = np.log(energies + spec.floor)
    values: np.ndarray = logarithms @ cosines(spec.mels, spec.coefficients) if spec.coefficients else logarithms

    return values


def checked(raw: Any) -> tuple[np.ndarray, int]:
    """Samples float64 (T,) of full scale 1, and their rate."""
    try:
        samples, rate = np.asarray(raw["samples"]), int(raw["rate"])
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise DataError(
            f'expected {{"samples": (T,), "rate": hertz}}, got {type(raw).__name__}', where="sound"
        ) from error

    if samples.ndim != 1 or samples.size == 0 or samples.dtype not in (np.int16, np.float32):
        raise DataError(f"samples are {samples.dtype} {samples.shape}, expected int16 or float32 (T,)", where="sound")
    if not 0 < rate <= MAX_RATE:
        raise DataError(f"a rate of {rate} Hz is not possible", where="sound")
    if samples.dtype == np.int16:
        return samples.astype(np.float64) / 32768.0, rate
    if not np.isfinite(samples).all():
        raise DataError("holds samples that are not finite", where="sound")

    return samples.astype(np.float64), rate


def heard(raw: Any, spec: Spec) -> int:
    """How many frames of `raw` begin within the recording; all of them where it stands in the middle."""
    if spec.place == "middle":
        return spec.frames
    samples, rate = checked(raw)
    return min(spec.frames, -(-_length_at(len(samples), rate, spec.rate) // spec.hop))


def fit(samples: np.ndarray, rate: int, target_rate: int, length: int, place: str = "middle") -> np.ndarray:
    """`samples` float64 (T,) at `rate` as exactly `length` samples at `target_rate` hertz.

    In the "middle": the middle of a longer clip, zeros around a shorter one. At the "start": zeros behind the clip;
    raises `DataError` for a longer one, since nothing that was said may be lost.
    """
    total = _length_at(len(samples), rate, target_rate)
    if place == "start" and total > length:
        raise DataError(
            f"is {len(samples) / rate:.2f} s long, and the model hears at most {length / target_rate:.2f} s",
            where="sound",
            remedy="cut it where nobody speaks, or train with a larger data.sound.seconds",
        )

    start = (total - length) // 2 if total > length else 0
    inner = resample(samples, rate, target_rate, start, min(total, length))
    before = (length - len(inner)) // 2 if place == "middle" else 0
    return np.concatenate([np.zeros(before), inner, np.zeros(length - len(inner) - before)])


def _length_at(count: int, rate: int, target_rate: int) -> int:
    """How many samples `count` samples at `rate` are at `target_rate` hertz."""
    return -(-count * target_rate // rate)


@functools.lru_cache(maxsize=4)
def filters(rate: int, fft: int, mels: int, fmin: float, fmax: float) -> np.ndarray:
    """The mel filter bank, float64 (fft // 2 + 1, mels): triangles of height 1 over the spectrum's lines."""
    low, high = (2595.0 * np.log10(1.0 + f / 700.0) for f in (fmin, fmax))
    edges = 700.0 * (10.0 ** (np.linspace(low, high, mels + 2) / 2595.0) - 1.0)
    lines = (np.arange(fft // 2 + 1) * rate / fft)[:, None]
    rising = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines) / (edges[2:] - edges[1:-1])

    return np.maximum(0.0, np.minimum(rising, falling))


@functools.lru_cache(maxsize=4)
def cosines(mels: int, coefficients: int) -> np.ndarray:
    """The first columns of the orthonormal DCT-II, float64 (mels, coefficients)."""
    angles = np.pi / mels * (np.arange(mels)[:, None] + 0.5) * np.arange(coefficients)
    scale = np.where(np.arange(coefficients) == 0, np.sqrt(1 / mels), np.sqrt(2 / mels))
    values: np.ndarray = np.cos(angles) * scale
    return values


def picture(raw: Any, height: int = 48, width: int = 160) -> np.ndarray:
    """The waveform as uint8 (height, width) pixels, dark on light, its loudest sample at full height."""
    samples, _ = checked(raw)
    edges = np.linspace(0, len(samples), width + 1).astype(int)
    columns = [samples[a : max(b, a + 1)] for a, b in itertools.pairwise(edges)]
    loudest = float(np.abs(samples).max()) or 1.0
    middle = (height - 1) / 2
    pixels = np.full((height, width), 245, np.uint8)

    for x, column in enumerate(columns):
        top, bottom = (round(middle - middle * float(v) / loudest) for v in (column.max(), column.min()))
        pixels[top : bottom + 1, x] = 60

    return pixels
