"""Images, for every task that sees: read a file into raw uint8 pixels, and make the graph's input tensor from them.

The same arithmetic in the same order is in the bundle's `run.py` (edgeft/inputs/run_image.py); a test holds both
bit-equal. Pillow decodes and resizes; pixels that already have the right size need numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import BundleError, DataError, RecipeError, nearest, need

#: what is opened at all: pillow would start an external program for some other formats.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
#: an image of more pixels is refused before it is decoded (a small file can unpack to gigabytes).
MAX_PIXELS = 89_478_485
#: pillow's numbers for its filters; all but nearest are antialiased when they shrink.
RESIZE = {"nearest": 0, "bilinear": 2, "bicubic": 3}
_MAX_SIDE = 16_384
_KEYS = ("kind", "size", "channels", "resize", "mean", "std", "scale", "layout", "input")


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
    result["resize"] = data.resize or result["resize"]
    for key in ("mean", "std"):
        stated = list(getattr(data, key))
        if not stated:
            continue
        if defaults.get("pretrained") and not np.allclose(stated, result[key], atol=5e-3):
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
    return result


def check(spec: Mapping[str, Any]) -> Spec:
    """`spec` as a `Spec`; raises `BundleError` naming the key that is missing, unknown or out of range."""
    for key in spec:
        if key not in _KEYS:
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
    if type(channels) is not int or channels not in (1, 3):
        raise fail("channels", "1 or 3")
    if spec["resize"] not in RESIZE:
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
        and all(type(item) in allowed and math.isfinite(item) for item in value)
    )


def read(path: str | Path, spec: Mapping[str, Any] | None = None) -> np.ndarray:
    """Raw pixels of an image file or of a `.npy` file: uint8 (H, W) for gray, (H, W, 3) for colour.

    The camera's EXIF orientation is applied; palettes become colour, 16-bit gray keeps its upper byte, transparency is
    dropped. Raises `DataError` naming the file (absent, truncated, unknown, too large) and `Missing` without pillow.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such file" if not path.exists() else "is not a regular file", where=str(path))
    if path.suffix.lower() == ".npy":
        return _read_npy(path)
    image_module, image_ops = need("PIL.Image", "image"), need("PIL.ImageOps", "image")
    try:
        image_module.init()
        formats = [name for name in FORMATS if name in image_module.OPEN]  # a pillow may be built without WEBP
        with image_module.open(path, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS} are refused", where=str(path)
                )
            return _pixels(image_ops.exif_transpose(image), path)
    except DataError:
        raise
    except Exception as error:  # decoders raise errors of any type on broken files
        raise DataError(
            f"not readable as an image ({type(error).__name__}: {error})",
            where=str(path),
            remedy=f"readable formats: {', '.join(FORMATS)}, and uint8 .npy",
        ) from error


def _pixels(image: Any, path: Path) -> np.ndarray:
    mode = image.mode
    if mode == "I" or mode.startswith("I;16"):
        wide = np.asarray(image)
        if wide.size and (wide.min() < 0 or wide.max() > 0xFFFF):
            raise DataError("has more than 16 bits a pixel", where=str(path), remedy="convert it to 8 bits")
        return (wide.astype(np.uint16) >> 8).astype(np.uint8)
    if mode == "F":
        raise DataError("has floating point pixels of unknown range", where=str(path), remedy="convert it to 8 bits")
    return np.array(image.convert("L" if mode in ("1", "L", "LA", "La") else "RGB"), np.uint8)


def _read_npy(path: Path) -> np.ndarray:
    try:
        # a mapping cannot be larger than the file, whatever its header claims
        raw = np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError, OverflowError, SyntaxError, TypeError) as error:
        raise DataError(f"not readable as an array ({error})", where=str(path)) from error
    _check_raw(raw, str(path))
    return raw


def _check_raw(raw: np.ndarray, where: str) -> None:
    if raw.dtype != np.uint8 or raw.ndim not in (2, 3) or raw.size == 0 or (raw.ndim == 3 and raw.shape[2] > 4):
        raise DataError(
            f"pixels are {raw.dtype} {raw.shape}, expected uint8 (height, width) or (height, width, 1..4)",
            where=where,
            remedy="store pixels as uint8, 0..255",
        )


def preprocess(raw: np.ndarray, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (1, C, H, W), or (1, H, W, C) where the layout says so} of raw uint8 (H, W[, C]) pixels.

    Channels first (gray is repeated, colour becomes ITU-R 601 luma), then resize, / scale, (x - mean) / std. Raises
    `DataError` for pixels of another dtype or shape, `BundleError` for a spec that cannot be followed, and `Missing`
    where a resize is needed and pillow is absent.
    """
    settings = check(spec)
    raw = np.asarray(raw)
    _check_raw(raw, "image")
    pixels = resize(_channels(raw, settings.channels), settings.size, settings.resize)
    x = pixels.astype(np.float32).reshape(*settings.size, settings.channels) / np.float32(settings.scale)
    x = (x - settings.mean) / settings.std
    if settings.layout == "NCHW":
        x = x.transpose(2, 0, 1)
    return {settings.input: np.ascontiguousarray(x[None])}


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
