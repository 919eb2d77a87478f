"""Images, for every task that sees: read a file into raw uint8 pixels, and make the graph's input tensor from them.

The same arithmetic in the same order is in the bundle's `run.py` (edgeft/inputs/run_image.py); a test holds both
bit-equal. Pillow decodes and resizes; pixels that already have the right size need numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import BundleError, RecipeError, nearest, need
from . import picture_file
from .picture_file import check_raw, read

#: pillow's numbers for its filters; all but nearest are antialiased when they shrink.
RESIZE = {"nearest": 0, "bilinear": 2, "bicubic": 3}
_MAX_SIDE = 16_384
_LARGEST = float(np.finfo(np.float32).max)
#: pictures that are enlarged so many times a side get a note
ENLARGED = 2
__all__ = ["RESIZE", "Spec", "check", "configure", "preprocess", "read", "resize"]
_KEYS = ("kind", "size", "channels", "resize", "mean", "std", "scale", "layout", "input")
#: keys that a table may also have: how files are read (`picture_file.read`)
_READING = ("value_range", "max_pixels")


@dataclass(frozen=True)
class Spec:
    """The manifest's `preprocess` table, checked. `mean` and `std` have `channels` elements, float32."""

    size: tuple[int, int]  # height, width
    channels: int
    resize: str
    mean: np.ndarray
    std: np.ndarray
    scale: float
    layout: str
    input: str


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The weights' own `defaults`, replaced by what the recipe's [data] states (and told so where they differ).

    `defaults` holds a whole `preprocess` table and `pretrained`. Raises `RecipeError` for a mean or std of another
    number of channels.
    """
    if defaults.get("kind") != "image":
        raise RecipeError("this model takes no pictures", where="model.name")

    result = {key: value for key, value in defaults.items() if key in _KEYS}
    if data.size:
        result["size"] = [data.size, data.size]
    elif "picture_size" in facts:
        _tell_of_enlarging(facts["picture_size"], result["size"], say)

    result["resize"] = data.resize or result["resize"]
    for key in ("mean", "std"):
        stated = list(getattr(data, key))
        if not stated:
            continue
        comparable = len(stated) in (1, len(defaults[key]))
        differs = comparable and not np.allclose(stated, defaults[key], atol=5e-3)
        if differs and _takes_pixels(defaults):
            say(
                f"warning: data.{key} = {stated}, but this model takes pixels of 0 to 255 and scales them itself; "
                f"leave data.{key} out"
            )
        elif differs and defaults.get("pretrained"):
            say(
                f"warning: data.{key} = {stated} differs from what the weights were trained with, {result[key]}; "
                "a wrong normalization costs accuracy silently"
            )
        result[key] = stated

    for key in ("mean", "std"):
        if len(result[key]) == 1:
            result[key] = result[key] * result["channels"]
        if len(result[key]) != result["channels"]:
            raise RecipeError(f"data.{key} has {len(result[key])} values for {result['channels']} channels")

    value_range = list(data.value_range) or list(facts.get("value_range", ()))
    if value_range:
        result["value_range"] = value_range
    if data.max_pixels != picture_file.MAX_PIXELS:
        result["max_pixels"] = data.max_pixels

    return result


def _takes_pixels(defaults: Mapping[str, Any]) -> bool:
    """Whether a model takes pixels / 255 as they were before that division: it scales them by layers of its own."""
    return bool(np.allclose(defaults["std"], 1 / 255)) and not any(defaults["mean"])


def _tell_of_enlarging(typical: Sequence[int], size: Sequence[int], say: Callable[[str], None]) -> None:
    """Say so where pictures become `ENLARGED` times as large a side, and which size costs less."""
    if min(size[0] / typical[0], size[1] / typical[1]) < ENLARGED:
        return

    smaller = 32 * math.ceil(max(typical) * ENLARGED / 32)
    if smaller >= min(size):
        return

    say(
        f"warning: the typical picture has {typical[0]}x{typical[1]} pixels (height x width) and is enlarged to "
        f"{size[0]}x{size[1]}, the model's default: data.size = {smaller} (--set data.size={smaller}) "
        f"takes about {100 * smaller**2 / (size[0] * size[1]):.0f} % of the computation"
    )


def check(spec: Mapping[str, Any], counts: Container[int] = (1, 3)) -> Spec:
    """`spec` as a `Spec`; raises `BundleError` naming the key that is missing, unknown or out of range.

    `counts` are the numbers of channels that there may be.
    """
    for key in spec:
        if key not in (*_KEYS, *_READING):
            raise BundleError(f"unknown key {key!r}", where="preprocess", remedy=nearest(key, _KEYS))

    for key in _KEYS:
        if key not in spec:
            raise BundleError("the key is missing", where=f"preprocess.{key}")

    def fail(key: str, expected: str) -> BundleError:
        return BundleError(f"is {spec[key]!r}, expected {expected}", where=f"preprocess.{key}")

    if spec["kind"] != "image":
        raise fail("kind", "'image'")

    size = spec["size"]
    if not _sequence(size, 2, int) or not all(1 <= side <= _MAX_SIDE for side in size):
        raise fail("size", f"[height, width] in pixels, each 1..{_MAX_SIDE}")

    channels = spec["channels"]
    if type(channels) is not int or channels not in counts:
        raise fail("channels", "1 or 3" if counts == (1, 3) else "how many frames a stack has")
    if not isinstance(spec["resize"], str) or spec["resize"] not in RESIZE:
        raise fail("resize", f"one of {', '.join(RESIZE)}")

    for key in ("mean", "std"):
        if not _sequence(spec[key], channels, float):
            raise fail(key, f"{channels} finite numbers, one per channel")

    if not all(value > 0 for value in spec["std"]):
        raise fail("std", "numbers above 0")
    if not _sequence([spec["scale"]], 1, float) or spec["scale"] <= 0:
        raise fail("scale", "a number above 0")
    if spec["layout"] not in ("NCHW", "NHWC"):
        raise fail("layout", "'NCHW' or 'NHWC'")
    if not isinstance(spec["input"], str) or not spec["input"]:
        raise fail("input", "the name of the graph's input")

    value_range, limit = spec.get("value_range", [0, 1]), spec.get("max_pixels", 1)
    if not _sequence(value_range, 2, float) or value_range[0] >= value_range[1]:
        raise fail("value_range", "[low, high], two finite numbers")
    if type(limit) is not int or limit < 1:
        raise fail("max_pixels", "a whole number above 0")

    return Spec(
        size=(size[0], size[1]),
        channels=channels,
        resize=spec["resize"],
        mean=np.asarray(spec["mean"], np.float32),
        std=np.asarray(spec["std"], np.float32),
        scale=float(spec["scale"]),
        layout=spec["layout"],
        input=spec["input"],
    )


def _sequence(value: Any, length: int, kind: type) -> bool:
    allowed = (int, float) if kind is float else (int,)
    return (
        isinstance(value, (list, tuple))
        and len(value) == length
        and all(type(item) in allowed and abs(item) <= _LARGEST for item in value)
    )


def preprocess(raw: np.ndarray, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (1, C, H, W), or (1, H, W, C) where the layout says so} of raw uint8 (H, W[, C]) pixels.

    Channels first (gray is repeated, colour becomes ITU-R 601 luma), then resize, / scale, (x - mean) / std. Raises
    `DataError` for pixels of another dtype or shape, `BundleError` for a spec that cannot be followed, and `Missing`
    where a resize is needed and pillow is absent.
    """
    settings = check(spec)
    raw = np.asarray(raw)
    check_raw(raw, "image")
    pixels = resize(_channels(raw, settings.channels), settings.size, settings.resize)
    return {settings.input: normalized(pixels.reshape(*settings.size, settings.channels), settings)}


def normalized(pixels: np.ndarray, settings: Spec) -> np.ndarray:
    """float32 (1, C, H, W), or (1, H, W, C), of uint8 (H, W, C)."""
    x = pixels.astype(np.float32) / np.float32(settings.scale)
    x = (x - settings.mean) / settings.std
    if settings.layout == "NCHW":
        x = x.transpose(2, 0, 1)

    return np.ascontiguousarray(x[None])


def _channels(raw: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (H, W) for one channel, (H, W, 3) for three; a fourth (or a gray image's second) is transparency."""
    if raw.ndim == 3 and raw.shape[2] < 3:
        raw = raw[:, :, 0]
    if channels == 3:
        return np.repeat(raw[:, :, None], 3, axis=2) if raw.ndim == 2 else raw[:, :, :3]
    if raw.ndim == 2:
        return raw

    # pillow's integer form of ITU-R 601-2, so that a gray image is the same with and without it
    wide = raw.astype(np.uint32)
    return ((wide[:, :, 0] * 19595 + wide[:, :, 1] * 38470 + wide[:, :, 2] * 7471 + 0x8000) >> 16).astype(np.uint8)


def resize(pixels: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """uint8 (H, W[, 3]) -> uint8 (height, width[, 3]) by pillow; returned as it is where the size is right already."""
    if pixels.shape[:2] == tuple(size):
        return pixels
    image = need("PIL.Image", "image").fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((size[1], size[0]), RESIZE[method]))
