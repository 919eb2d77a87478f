"""Label masks: which class every pixel of a picture has. Read one from a file, enlarge logits, colour it.

In memory a mask is uint8 (H, W) of class numbers, `VOID` where nobody knows or cares. `MaskFile` is one that is read
when it is looked at: a split's targets are an object array of them, so that memory does not grow with the data set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core import npy
from ..core.errors import DataError, need
from .picture_file import FORMATS, MAX_PIXELS

#: the class number of pixels that are neither learned nor judged
VOID = 255


@dataclass(frozen=True)
class Meaning:
    """What the numbers or colours of mask files mean: class numbers by label id, and by colour where masks have some.

    `ids` has 256 entries, -1 where no class has that id. `colours` are (r, g, b, class number).
    """

    ids: tuple[int, ...]
    colours: tuple[tuple[int, int, int, int], ...] = ()

    def renumbered(self, numbers: np.ndarray) -> Meaning:
        """The same with class number i called `numbers[i]`; void stays void."""
        new = {i: int(n) for i, n in enumerate(numbers)} | {VOID: VOID, -1: -1}
        return Meaning(tuple(new[i] for i in self.ids), tuple((*c[:3], new[c[3]]) for c in self.colours))


class StoredMask(ABC):
    """A mask that is made when it is looked at: `np.asarray(it)` is uint8 (H, W) of class numbers.

    It raises `DataError` naming the file `path`. Two whose `repr` is equal are the same mask.
    """

    path: str

    @abstractmethod
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """The class numbers."""

    @abstractmethod
    def renumbered(self, numbers: np.ndarray) -> StoredMask:
        """The same with class number i called `numbers[i]`; void stays void."""


@dataclass(frozen=True)
class MaskFile(StoredMask):
    """A mask on disk."""

    path: str
    meaning: Meaning
    orientation: int = 1  # EXIF's number: how the picture's stored pixels, which the mask belongs to, are turned

    def renumbered(self, numbers: np.ndarray) -> MaskFile:
        return replace(self, meaning=self.meaning.renumbered(numbers))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return upright(read(self.path, self.meaning), self.orientation).astype(dtype or np.uint8, copy=False)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels (H, W) as they are seen, by EXIF's eight orientations."""
    turned = {
        2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
        5: pixels.T, 6: pixels[::-1].T, 7: pixels[::-1, ::-1].T, 8: pixels.T[::-1],
    }.get(orientation, pixels)  # fmt: skip
    return np.ascontiguousarray(turned)


@dataclass(frozen=True)
class Stored:
    """What a mask file holds: label ids (H, W) or colours uint8 (H, W, 3); of indices the palette uint8 (256, 3)."""

    pixels: np.ndarray
    palette: np.ndarray | None = None

    def ids(self) -> np.ndarray | None:
        """Label ids (H, W), also of colours whose channels are all equal; None for other colours."""
        if self.pixels.ndim == 2:
            return self.pixels
        gray = self.pixels[:, :, 0]
        return gray if (self.pixels == gray[:, :, None]).all() else None


def read(path: str | Path, meaning: Meaning) -> np.ndarray:
    """Class numbers uint8 (H, W) of a mask file: label ids of one channel, palette colours or indices, or colours.

    A palette counts by its colours where the classes have colours and one of them occurs, else by its indices. Raises
    `DataError` naming the file: absent, truncated, no image, a label id or a colour that has no class.
    """
    mask_file = stored(Path(path))
    if meaning.colours:
        coloured = _coloured(mask_file, meaning)
        if coloured is not None:
            return _of_colours(*coloured, meaning, path)

    pixels = mask_file.ids()
    if pixels is None:
        return _of_colours(mask_file.pixels, None, meaning, path)

    table = np.asarray(meaning.ids, np.int64)
    if pixels.dtype != np.uint8 and (pixels.min(initial=0) < 0 or pixels.max(initial=0) > 255):
        raise _unknown(path, sorted({int(v) for v in np.unique(pixels) if not 0 <= v <= 255}))

    classes = table[pixels]
    if classes.min(initial=0) < 0:
        raise _unknown(path, [int(v) for v in np.unique(pixels[classes < 0])], pixels, classes < 0)

    numbers: np.ndarray = classes.astype(np.uint8)
    return numbers


def _coloured(mask_file: Stored, meaning: Meaning) -> tuple[np.ndarray, np.ndarray | None] | None:
    """The mask as colours (H, W, 3), and where it is void by its palette index; None where ids count.

    Gray pixels are colours where the classes' colours are all gray: black and white masks of `name 255 255 255`.
    """
    pixels, palette = mask_file.pixels, mask_file.palette
    if pixels.ndim == 3:
        return pixels, None

    known = {(r, g, b) for r, g, b, _ in meaning.colours}
    if palette is not None:
        used = [tuple(int(v) for v in palette[i]) for i in np.unique(pixels)]
        if not known & set(used):
            return None
        free = [i for i in range(256) if meaning.ids[i] == VOID and tuple(map(int, palette[i])) not in known]
        return palette[pixels], np.isin(pixels, free)

    if pixels.dtype == np.uint8 and all(r == g == b for r, g, b in known):
        return np.repeat(pixels[:, :, None], 3, axis=2), None
    return None


def _unknown(path: str | Path, ids: list[int], pixels: Any = None, where: Any = None) -> DataError:
    at = ""
    if where is not None:
        row, column = (int(v[0]) for v in np.nonzero(where))
        at = f", first at row {row}, column {column}, {int(np.count_nonzero(where))} pixels in all"

    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return DataError(
        f"label id {', '.join(map(str, ids[:5]))}{more} has no class{at}",
        where=str(path),
        remedy="list it with the classes, or name it in data.masks.void",
    )


def _of_colours(pixels: np.ndarray, void: np.ndarray | None, meaning: Meaning, path: str | Path) -> np.ndarray:
    if not meaning.colours:
        raise DataError(
            "the mask has colours, and no class is said to have one",
            where=str(path),
            remedy="give the colours in the class file (one line a class: name r g b), or masks of label ids",
        )

    wide = pixels[:, :, 0].astype(np.int64) << 16 | pixels[:, :, 1].astype(np.int64) << 8 | pixels[:, :, 2]
    known = np.array([r << 16 | g << 8 | b for r, g, b, _ in meaning.colours])
    order = np.argsort(known)
    at = np.clip(np.searchsorted(known[order], wide), 0, len(known) - 1)
    wrong = known[order][at] != wide
    if void is not None:
        wrong &= ~void

    if wrong.any():
        row, column = (int(v[0]) for v in np.nonzero(wrong))
        raise DataError(
            f"the colour {pixels[row, column].tolist()} has no class, first at row {row}, column {column}, "
            f"{int(wrong.sum())} pixels in all",
            where=str(path),
            remedy="masks must be stored without loss (PNG, not JPEG) and in the colours of the class file",
        )

    numbers: np.ndarray = np.array([c[3] for c in meaning.colours], np.uint8)[order][at]
    return numbers if void is None else np.where(void, np.uint8(VOID), numbers)


def stored(path: Path) -> Stored:
    """The pixels of a mask file as they are stored; raises `DataError` naming the file. One bit is 0 or 255."""
    if not path.is_file():
        raise DataError("no such file", where=str(path))

    if path.suffix.lower() == ".npy":
        try:
            ids = np.array(npy.mapped(path))
        except ValueError as error:
            raise DataError(f"not readable as an array ({error})", where=str(path)) from error
        if ids.dtype.kind not in "iu" or ids.ndim != 2 or not ids.size:
            raise DataError(f"is {ids.dtype} {ids.shape}, expected whole numbers (height, width)", where=str(path))
        return Stored(ids)

    image_module = need("PIL.Image", "image")
    try:
        image_module.init()
        with image_module.open(path, formats=[name for name in FORMATS if name in image_module.OPEN]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels")
            if image.mode == "P":
                colours = np.zeros((256, 3), np.uint8)
                palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
                colours[: len(palette)] = palette
                return Stored(np.asarray(image), colours)
            if image.mode in ("L", "I", "I;16", "I;16B"):
                return Stored(np.asarray(image))
            return Stored(np.asarray(image.convert("L" if image.mode in ("1", "LA") else "RGB")))
    except Exception as error:  # decoders raise errors of any type on broken files
        raise DataError(
            f"not readable as a mask ({type(error).__name__}: {error})",
            where=str(path),
            remedy="masks are images of label ids or colours: PNG, or whole numbers in .npy",
        ) from error


def enlarge(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Logits float (C, h, w) -> float32 (C, height, width), bilinear as torch's `interpolate(align_corners=False)`."""
    _, height, width = logits.shape
    if (height, width) == tuple(size):
        return np.asarray(logits, np.float32)
    rows, columns = (_weights(old, new) for old, new in zip((height, width), size))
    resized: np.ndarray = np.matmul(np.matmul(rows, np.asarray(logits, np.float32)), columns.T)
    return resized


def _weights(old: int, new: int) -> np.ndarray:
    """float32 (new, old): each new place is a mixture of the two nearest old ones; half-pixel centres."""
    at = np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0.0)
    low = np.minimum(at.astype(np.int64), old - 1)
    share = (at - low).astype(np.float32)
    weights = np.zeros((new, old), np.float32)
    np.add.at(weights, (np.arange(new), low), 1 - share)
    np.add.at(weights, (np.arange(new), np.minimum(low + 1, old - 1)), share)
    return weights


def classes(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Class numbers uint8 (height, width) of logits float (C, h, w); `VOID` where they are not finite."""
    with np.errstate(invalid="ignore"):
        large = enlarge(logits, size)
    decided = large.argmax(axis=0).astype(np.uint8)
    return np.where(np.isfinite(large.max(axis=0)), decided, np.uint8(VOID))


def nearest(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W[, C]) -> (height, width[, C]), the pixel under each centre."""
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(np.int64) for old, new in zip(pixels.shape, size))
    nearest_pixels: np.ndarray = pixels[rows[:, None], columns]
    return nearest_pixels


def colours(count: int) -> np.ndarray:
    """uint8 (count, 3): one colour a class, always the same: hues a golden angle apart, brightness in three steps."""
    index = np.arange(count)
    hue = (0.58 + index * 0.61803398875) % 1.0
    strong, bright = 0.85 - 0.25 * (index % 2), 0.95 - 0.2 * (index % 3)
    ramp = np.clip(np.abs((hue[:, None] * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    colours: np.ndarray = np.round(255 * bright[:, None] * (1 - strong[:, None] * (1 - ramp))).astype(np.uint8)
    return colours


def overlay(raw: np.ndarray, mask: np.ndarray, count: int, share: float = 0.6) -> np.ndarray:
    """The picture uint8 (H, W, 3) under the colours of its classes; void stays as it is."""
    pixels = np.repeat(raw[:, :, None], 3, axis=2) if raw.ndim == 2 else raw
    pixels = np.repeat(pixels[:, :, :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[:, :, :3]
    fitted = mask if mask.shape == pixels.shape[:2] else nearest(mask, (pixels.shape[0], pixels.shape[1]))
    table = np.zeros((256, 3), np.float32)
    table[: min(count, 255)] = colours(min(count, 255))
    mixed = (1 - share) * pixels + share * table[fitted]
    return np.where((fitted == VOID)[:, :, None], pixels, np.round(mixed)).astype(np.uint8)
