"""Pictures for a detector: resized to fit, their proportions kept, with a plain border; numpy, and pillow to resize.

The `preprocess` table is that of `image.py` with `kind` "letterbox" and `fill`, the value 0..255 of the border. The
same arithmetic in the same order is in the bundle's runner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import BundleError, RecipeError
from . import image
from .picture_file import check_raw, read

__all__ = ["FILL", "check", "configure", "fitted", "place", "preprocess", "read", "to_raw"]

#: the gray that detectors are commonly trained with
FILL = 114
#: sides must be multiples of the coarsest stride
MULTIPLE = 32


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The table of `image.configure`, for letterboxed pictures; `RecipeError` for sides that 32 does not divide."""
    spec = image.configure(data, defaults, facts, say)
    if any(side % MULTIPLE for side in spec["size"]):
        raise RecipeError(
            f"a detector sees {spec['size'][0]}x{spec['size'][1]} pixels (height x width), and each must be a multiple "
            f"of {MULTIPLE}",
            where="data.size",
            remedy="set data.size, or model.args = { size = [height, width] }, for example [224, 384]",
        )

    return {**spec, "kind": "letterbox", "fill": FILL}


def check(spec: Mapping[str, Any]) -> tuple[image.Spec, int]:
    """The table of the picture and the border's value; raises `BundleError` naming the key that is wrong."""
    if spec.get("kind") != "letterbox":
        raise BundleError(f"is {spec.get('kind')!r}, expected 'letterbox'", where="preprocess.kind")
    fill = spec.get("fill")
    if type(fill) is not int or not 0 <= fill <= 255:
        raise BundleError(f"is {fill!r}, expected a whole number 0..255", where="preprocess.fill")
    return image.check({key: value for key, value in spec.items() if key != "fill"} | {"kind": "image"}), fill


def place(height: int, width: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a picture of `height` x `width` lies in one of `size` (h, w): (rows, columns, top, left) in pixels."""
    ratio = min(size[0] / height, size[1] / width)
    rows = min(size[0], max(1, int(height * ratio + 0.5)))
    columns = min(size[1], max(1, int(width * ratio + 0.5)))
    return rows, columns, (size[0] - rows) // 2, (size[1] - columns) // 2


def fitted(raw: np.ndarray, spec: Mapping[str, Any]) -> np.ndarray:
    """uint8 (h, w, channels): the raw pixels resized, with their border."""
    settings, fill = check(spec)
    raw = np.asarray(raw)
    check_raw(raw, "image")
    rows, columns, top, left = place(raw.shape[0], raw.shape[1], settings.size)
    pixels = image.resize(image._channels(raw, settings.channels), (rows, columns), settings.resize)
    canvas = np.full((*settings.size, settings.channels), fill, np.uint8)
    canvas[top : top + rows, left : left + columns] = pixels.reshape(rows, columns, settings.channels)
    return canvas


def preprocess(raw: np.ndarray, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (1, C, H, W), or (1, H, W, C) where the layout says so} of raw uint8 (H, W[, C]) pixels.

    Raises `DataError` for pixels of another dtype or shape, `BundleError` for a table that cannot be followed, and
    `Missing` where a resize is needed and pillow is absent.
    """
    settings, _ = check(spec)
    return {settings.input: normalized(fitted(raw, spec)[None], settings)}


def normalized(pixels: np.ndarray, settings: image.Spec) -> np.ndarray:
    """uint8 (N, H, W, C) -> float32 in the layout of the graph's input."""
    x = (pixels.astype(np.float32) / np.float32(settings.scale) - settings.mean) / settings.std
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2) if settings.layout == "NCHW" else x)


def to_input(boxes: np.ndarray, raw: np.ndarray | Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Boxes (M, 4) x1 y1 x2 y2 in a picture of `raw` (height, width) as pixels of the letterboxed one, float32."""
    height, width = int(raw[0]), int(raw[1])
    rows, columns, top, left = place(height, width, size)
    scale, shift = _affine(height, width, rows, columns, top, left)
    scaled_boxes: np.ndarray = (np.asarray(boxes, np.float32).reshape(-1, 4) * scale + shift).astype(np.float32)
    return scaled_boxes


def to_raw(boxes: np.ndarray, height: int, width: int, size: tuple[int, int]) -> np.ndarray:
    """The way back, cut off at the picture's edges, float32."""
    rows, columns, top, left = place(height, width, size)
    scale, shift = _affine(height, width, rows, columns, top, left)
    scaled = (np.asarray(boxes, np.float32).reshape(-1, 4) - shift) / scale
    scaled_boxes: np.ndarray = np.clip(scaled, 0, np.array([width, height, width, height], np.float32)).astype(
        np.float32
    )
    return scaled_boxes


def _affine(height: int, width: int, rows: int, columns: int, top: int, left: int) -> tuple[np.ndarray, np.ndarray]:
    scale = np.array([columns / width, rows / height] * 2, np.float32)
    return scale, np.array([left, top] * 2, np.float32)
