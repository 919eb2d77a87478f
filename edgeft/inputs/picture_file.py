"""Picture files: the raw pixels of a file, and its size by its header; numpy and pillow, pillow-heif for HEIC.

How a file is read is said by two keys that a `preprocess` table may have: `max_pixels`, the most pixels that are
decoded, and `value_range` [low, high], the values of pictures of more than 8 bits that become 0 and 255. The same
arithmetic is in the bundle's `run.py` (edgeft/inputs/run_picture_file.py).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core import npy
from ..core.errors import DataError, Missing, need

#: what is opened at all: pillow would start an external program for some other formats.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "HEIF")
#: endings of picture files, in lower case
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"),
    *(".avif", ".heic", ".heif", ".npy"),
)
#: a picture of more pixels is refused before it is decoded (a small file can unpack to gigabytes).
MAX_PIXELS = 89_478_485
#: the EXIF and TIFF tag of the orientation
ORIENTATION = 0x0112
#: held while a header is read
_OPENING = threading.Lock()
#: brands of ISO media files (bytes 8 to 12) that libheif decodes
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@dataclass(frozen=True)
class Header:
    """What the header of a picture file says: height and width as `read` gives them, and the stored orientation.

    `orientation` is EXIF's number: 1 is upright, 2 to 8 are mirrored or turned.
    """

    height: int
    width: int
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def stored(self) -> tuple[int, int]:
        """Height and width of the pixels as stored, before the orientation is applied."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


def read(path: str | Path, spec: Mapping[str, Any] | None = None) -> np.ndarray:
    """Raw pixels of an image file or of a `.npy` file: uint8 (H, W) for gray, (H, W, 3) for colour.

    The camera's orientation (EXIF, TIFF) is applied; palettes become colour, transparency is dropped. Gray of 16 bits
    keeps its upper byte, or is scaled from `spec["value_range"]` to 0..255. Raises `DataError` naming the file (absent,
    truncated, unknown, more pixels than `spec["max_pixels"]`) and `Missing` without pillow, or pillow-heif for HEIC.
    """
    path, settings = Path(path), spec or {}
    if not path.is_file():
        raise DataError(_absent(path), where=str(path))
    if path.suffix.lower() == ".npy":
        return _read_npy(path, settings)

    image_ops = need("PIL.ImageOps", "image")
    try:
        with _opened(path, settings) as image:
            return _pixels(image_ops.exif_transpose(image), path, settings)
    except (DataError, Missing):
        raise
    except Exception as error:  # decoders raise errors of any type on broken files
        raise _unreadable(path, error) from error


def header(path: str | Path, spec: Mapping[str, Any] | None = None) -> Header:
    """Size and orientation by the file's header; nothing is decoded. Raises as `read` does."""
    path, settings = Path(path), spec or {}
    if not path.is_file():
        raise DataError(_absent(path), where=str(path))

    if path.suffix.lower() == ".npy":
        height, width = _mapped(path).shape[:2]
        return Header(int(height), int(width))

    try:
        with _opened(path, settings) as image:
            orientation = int(image.getexif().get(ORIENTATION, 1))
            orientation = orientation if 1 <= orientation <= 8 else 1
            width, height = image.size
            tags = getattr(image, "tag_v2", None)
            if tags is not None and 256 in tags and 257 in tags:  # pillow turns the size of some TIFF files itself
                width, height = int(tags[256]), int(tags[257])
            turned = orientation >= 5
            return Header(width, height, orientation) if turned else Header(height, width, orientation)
    except (DataError, Missing):
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def wide(path: str | Path, spec: Mapping[str, Any] | None = None) -> np.ndarray | None:
    """The values of a picture of more than 8 bits, (H, W) as stored; None for any other picture. Raises as `read`."""
    path, settings = Path(path), spec or {}
    if path.suffix.lower() == ".npy":
        values = _mapped(path)
        return None if values.dtype == np.uint8 else np.array(values)

    try:
        with _opened(path, settings) as image:
            return np.asarray(image) if is_wide(image.mode) else None
    except (DataError, Missing):
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def is_wide(mode: str) -> bool:
    """Whether pictures of a mode of pillow have more than 8 bits a pixel and channel."""
    return mode in ("I", "F") or mode.startswith("I;16")


def scaled(values: np.ndarray, value_range: Any) -> np.ndarray:
    """uint8 of values of any number type: `value_range` [low, high] becomes 0..255, what lies outside is clipped."""
    low, high = (float(v) for v in value_range)
    return np.rint(np.clip((values.astype(np.float64) - low) * 255.0 / (high - low), 0.0, 255.0)).astype(np.uint8)


def _absent(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "is a link to a file that does not exist"
    return "is not a regular file" if path.exists() else "no such file"


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"not readable as an image ({type(error).__name__}: {error})",
        where=str(path),
        remedy=f"readable formats: {', '.join(FORMATS)}, and uint8 .npy",
    )


def _opened(path: Path, settings: Mapping[str, Any]) -> Any:
    """The file as pillow opens it, of a format of `FORMATS` and of no more pixels than the limit."""
    module: Any = need("PIL.Image", "image")
    module.init()
    with path.open("rb") as file:
        start = file.read(12)

    if start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS:
        need("pillow_heif", "heif").register_heif_opener()
    if start[4:12] in (b"ftypavif", b"ftypavis") and "AVIF" not in module.OPEN:
        raise Missing("this pillow does not read AVIF", where=str(path), remedy="pip install --upgrade pillow")

    limit = int(settings.get("max_pixels") or MAX_PIXELS)
    formats = [name for name in FORMATS if name in module.OPEN]  # a pillow may be built without WEBP
    with _OPENING:  # the limit here is checked below, with its key: pillow's would warn, or raise without a size
        pillow_limit, module.MAX_IMAGE_PIXELS = module.MAX_IMAGE_PIXELS, None
        try:
            image = module.open(path, formats=formats)
        finally:
            module.MAX_IMAGE_PIXELS = pillow_limit

    if image.width * image.height > limit:
        size, pixels = f"{image.width}x{image.height}", image.width * image.height
        image.close()
        raise DataError(
            f"has {size} pixels, more than {limit} are not read",
            where=str(path),
            remedy=f"make it smaller, or raise the limit: data.max_pixels = {pixels}",
        )

    return image


def _pixels(image: Any, path: Path, settings: Mapping[str, Any]) -> np.ndarray:
    mode = image.mode
    if not is_wide(mode):
        return np.array(image.convert("L" if mode in ("1", "L", "LA", "La") else "RGB"), np.uint8)
    return _narrow(np.asarray(image), path, settings)


def _narrow(values: np.ndarray, path: Path, settings: Mapping[str, Any]) -> np.ndarray:
    """uint8 of values of more than 8 bits."""
    if settings.get("value_range"):
        return scaled(values, settings["value_range"])
    remedy = "state the values that become black and white, data.value_range = [low, high], or convert it to 8 bits"
    if values.dtype.kind == "f":
        raise DataError("has floating point pixels of unknown range", where=str(path), remedy=remedy)
    if values.size and (values.min() < 0 or values.max() > 0xFFFF):
        raise DataError("has values outside of 16 bits, 0..65535", where=str(path), remedy=remedy)
    return (values.astype(np.uint16) >> 8).astype(np.uint8)


def _mapped(path: Path) -> np.ndarray:
    try:
        array = npy.mapped(path)
        if array.ndim not in (2, 3) or array.dtype.kind not in "uif":
            raise ValueError(f"it is {array.dtype} {array.shape}, expected numbers (height, width[, channels])")
    except ValueError as error:
        raise DataError(f"not readable as an array ({error})", where=str(path)) from error
    return np.asarray(array)


def _read_npy(path: Path, settings: Mapping[str, Any]) -> np.ndarray:
    values = _mapped(path)
    if values.dtype != np.uint8 and settings.get("value_range"):
        values = scaled(values, settings["value_range"])
    raw = np.array(values)
    check_raw(raw, str(path))
    return raw


def check_raw(raw: np.ndarray, where: str) -> None:
    """Raise `DataError` unless `raw` is uint8 (H, W) or (H, W, 1 to 4)."""
    if raw.dtype != np.uint8 or raw.ndim not in (2, 3) or raw.size == 0 or (raw.ndim == 3 and raw.shape[2] > 4):
        raise DataError(
            f"pixels are {raw.dtype} {raw.shape}, expected uint8 (height, width) or (height, width, 1..4)",
            where=where,
            remedy="store pixels as uint8, 0..255, or state data.value_range = [low, high]",
        )
