"""Pictures that a model sees in windows: pieces of its input's size at the picture's own scale, which overlap.

The `preprocess` table is that of `image.py` with `kind` "windows" and `overlap`, the share of a window's side that two
neighbours have in common. Each pixel of the picture is decided by one window alone, the one in which it lies farther
from the border (the centre crop of overlap-tile, Ronneberger et al. 2015): so counts of pixels over all windows are
those of the joined picture. The same arithmetic in the same order is in the bundle's runner (`run_windows.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..core.errors import BundleError
from . import image
from .picture_file import check_raw

KIND = "windows"
#: a picture of more pixels is seen in windows, where the recipe leaves it open and states no size of the input
LARGE = 512 * 512
#: a picture of more pixels is shrunk then: a photograph would take dozens of windows
LARGEST = 2048 * 2048


@dataclass(frozen=True)
class Window:
    """Where a window begins in its picture, and the part of the picture that it decides: rows and columns from, to."""

    top: int
    left: int
    rows: tuple[int, int]
    columns: tuple[int, int]


def configure(
    data: Any, spec: Mapping[str, Any], facts: Mapping[str, Any], stated: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """The table `spec` of `image.configure`, for windows where [data] asks for them, or the typical picture is large.

    `stated`: the recipe names the size of the model's input, so that "auto" keeps to whole pictures.
    """
    typical = facts.get("picture_size")
    pixels = typical[0] * typical[1] if typical else 0
    size = f"{typical[0]}x{typical[1]}" if typical else "other"
    seen = f"{spec['size'][0]}x{spec['size'][1]}"
    if data.windows == "no" or (data.windows == "auto" and (stated or pixels <= LARGE)):
        return dict(spec)

    if data.windows == "auto" and pixels > LARGEST:
        say(
            f"pictures have {size} pixels (height x width) and are shrunk to {seen}: where small things count, "
            'data.windows = "yes" shows the model windows of them at their own scale'
        )
        return dict(spec)

    table = {**spec, "kind": KIND, "overlap": float(data.overlap)}
    count = "as many as fit"
    if typical:
        count = f"{len(places(typical[0], typical[1], spec['size'], data.overlap))} a picture of {size}"

    say(
        f"pictures are seen at their own scale in windows of {seen} pixels (height x width), {count}, which overlap by "
        f'{data.overlap:.0%}: data.windows = "no" resizes whole pictures to {seen} instead'
    )

    return table


def check(spec: Mapping[str, Any]) -> tuple[image.Spec, float]:
    """The table of a window and the overlap; raises `BundleError` naming the key that is wrong."""
    if spec.get("kind") != KIND:
        raise BundleError(f"is {spec.get('kind')!r}, expected {KIND!r}", where="preprocess.kind")
    overlap: Any = spec.get("overlap")
    if type(overlap) not in (int, float) or not math.isfinite(overlap) or not 0 <= overlap <= 0.75:
        raise BundleError(f"is {overlap!r}, expected a share 0..0.75", where="preprocess.overlap")
    return image.check(whole(spec)), float(overlap)


def whole(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The table of one window, as that of a picture."""
    return {key: value for key, value in spec.items() if key != "overlap"} | {"kind": "image"}


def of(height: int, width: int, spec: Mapping[str, Any]) -> list[Window]:
    """`places` by a table; raises as `check`."""
    settings, overlap = check(spec)
    return places(height, width, settings.size, overlap)


def places(height: int, width: int, size: tuple[int, int], overlap: float) -> list[Window]:
    """The windows of a picture of `height` x `width`, row by row: as few as overlap by that share, evenly spread."""
    down, across = _axis(height, int(size[0]), overlap), _axis(width, int(size[1]), overlap)
    return [Window(top, left, rows, columns) for top, rows in down for left, columns in across]


def _axis(length: int, side: int, overlap: float) -> list[tuple[int, tuple[int, int]]]:
    """Along one axis: where each window begins, and what it decides, from and to."""
    if length <= side:
        return [(0, (0, length))]
    count = -(-(length - side) // max(1, int(side * (1 - overlap)))) + 1
    starts = [i * (length - side) // (count - 1) for i in range(count)]
    ends = [(first + side + second) // 2 for first, second in pairwise(starts)]
    return list(zip(starts, zip([0, *ends], [*ends, length])))


def cut(pixels: np.ndarray, window: Window, size: tuple[int, int]) -> np.ndarray:
    """(H, W[, C]) -> (height, width[, C]) of one window; what a smaller picture lacks repeats its last pixels."""
    rows = np.minimum(np.arange(window.top, window.top + size[0]), pixels.shape[0] - 1)
    columns = np.minimum(np.arange(window.left, window.left + size[1]), pixels.shape[1] - 1)
    piece: np.ndarray = pixels[rows[:, None], columns]
    return piece


def decided(window: Window) -> tuple[slice, slice]:
    """The rows and columns of the window itself that it decides."""
    return (
        slice(window.rows[0] - window.top, window.rows[1] - window.top),
        slice(window.columns[0] - window.left, window.columns[1] - window.left),
    )


def preprocess(raw: np.ndarray, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (T, C, H, W), or (T, H, W, C)} of raw uint8 (H, W[, C]) pixels: its T windows, in order.

    Raises `DataError` for pixels of another dtype or shape, `BundleError` for a table that cannot be followed.
    """
    settings, overlap = check(spec)
    raw = np.asarray(raw)
    check_raw(raw, "image")
    plain = whole(spec)
    windows = places(raw.shape[0], raw.shape[1], settings.size, overlap)
    pieces = [image.preprocess(cut(raw, window, settings.size), plain)[settings.input] for window in windows]
    return {settings.input: np.concatenate(pieces)}
