"""Masks of outlines: polygons and run lengths, as COCO's json format has them, are drawn when a mask is looked at."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config import recipe
from ..core.errors import need
from ..inputs import mask
from ..inputs.picture_file import Header
from . import left_out, pictures
from .annotations import Finder
from .boxes import Wrong, header_of
from .mask_scan import Looked
from .samples import Dataset, Split, complete

#: the class of pixels that no outline covers
BACKGROUND = "background"
#: pixels of a mask: a damaged file must not ask for gigabytes
_MOST_PIXELS = 1 << 28


@dataclass(frozen=True)
class Outline:
    """One object: its class number, and polygons [x1, y1, x2, y2, ...] or run lengths in columns (COCO's RLE)."""

    kind: int
    polygons: tuple[tuple[float, ...], ...] = ()
    counts: tuple[int, ...] | str = ()

    def drawn(self, height: int, width: int) -> np.ndarray:
        """bool (height, width): the pixels inside."""
        library = need("pycocotools.mask", "outlines")
        if self.polygons:
            encoded = library.merge(library.frPyObjects([list(p) for p in self.polygons], height, width))
        elif isinstance(self.counts, str):
            encoded = {"size": [height, width], "counts": self.counts.encode("ascii")}
        else:
            encoded = library.frPyObjects({"size": [height, width], "counts": list(self.counts)}, height, width)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools 2.0 hands numpy 2 an array in its old way
            inside: np.ndarray = library.decode(encoded).astype(bool)

        return inside


@dataclass(frozen=True)
class OutlineMask(mask.StoredMask):
    """The mask of a picture of `size` (height, width): its outlines drawn over class number `rest`, in their order."""

    path: str
    size: tuple[int, int]
    outlines: tuple[Outline, ...]
    rest: int = 0
    orientation: int = 1  # EXIF's number: how the picture's stored pixels, which the outlines belong to, are turned

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        pixels = np.full(self.size, self.rest, np.uint8)
        for outline in self.outlines:
            pixels[outline.drawn(*self.size)] = outline.kind
        return mask.upright(pixels, self.orientation).astype(dtype or np.uint8, copy=False)

    def renumbered(self, numbers: np.ndarray) -> OutlineMask:
        outlines = tuple(replace(outline, kind=int(numbers[outline.kind])) for outline in self.outlines)
        return replace(self, outlines=outlines, rest=int(numbers[self.rest]))


def of_coco(row: Mapping[str, Any], kind: int, size: tuple[int, int], where: str) -> Outline | None:
    """The outline of an annotation of COCO's format; None where it has none, `Wrong` where it cannot be drawn."""
    value = row.get("segmentation")
    if not value:
        return None

    if isinstance(value, list):
        polygons = value if all(isinstance(part, list) for part in value) else [value]
        return Outline(kind, tuple(polygon(part, size, where) for part in polygons))

    if isinstance(value, dict):
        stated, counts = value.get("size"), value.get("counts")
        if not isinstance(stated, list) or tuple(stated) != size:
            raise Wrong(where, f"its run lengths are of size {stated!r}, its picture has {list(size)}")
        if isinstance(counts, str) and counts.isascii():
            return Outline(kind, counts=_packed(counts, size, where))
        if isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts):
            if sum(counts) != size[0] * size[1]:
                raise Wrong(where, f"its run lengths add up to {sum(counts)}, not {size[0]} x {size[1]}")
            return Outline(kind, counts=tuple(counts))

    raise Wrong(where, "'segmentation' is neither polygons nor run lengths")


def polygon(values: Any, size: tuple[int, int], where: str) -> tuple[float, ...]:
    """x1, y1, x2, y2, ... of three or more points in pixels of a picture of `size` (height, width).

    Raises `Wrong` for what is no such list, and for a point that is further from the picture than its sides are long:
    the library that draws polygons needs memory by the length of their edges.
    """
    numbers = isinstance(values, (list, tuple)) and all(type(v) in (int, float) for v in values)
    if not numbers or len(values) < 6 or len(values) % 2 or not all(math.isfinite(v) for v in values):
        raise Wrong(where, "a polygon is no list of three or more points x, y")
    points = tuple(float(v) for v in values)
    for x, y in zip(points[::2], points[1::2]):
        if not (-size[1] <= x <= 2 * size[1] and -size[0] <= y <= 2 * size[0]):
            raise Wrong(where, f"the point {x:g}, {y:g} lies outside of its picture of {size[1]}x{size[0]} pixels")
    return points


def _packed(counts: str, size: tuple[int, int], where: str) -> str:
    """COCO's compressed run lengths, which the library would read beyond their end: they must add up to the picture."""
    runs: list[int] = []
    position = 0
    while position < len(counts):
        value = shift = 0
        while True:
            if position == len(counts):
                raise Wrong(where, "its run lengths end within a number")
            symbol = ord(counts[position]) - 48
            position += 1
            if not 0 <= symbol < 64:
                raise Wrong(where, "its run lengths hold a character that is none of COCO's")
            value |= (symbol & 31) << (5 * shift)
            shift += 1
            if not symbol & 32:
                if symbol & 16:
                    value |= -1 << (5 * shift)
                break
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))

    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise Wrong(where, f"its run lengths add up to {sum(runs)}, not {size[0]} x {size[1]}")
    return counts


def size_of(stated: tuple[int, int] | None, where: str) -> tuple[int, int]:
    """The stated height and width of a picture; raises `Wrong` where they are absent or cannot be."""
    if stated is None or min(stated) < 1 or stated[0] * stated[1] > _MOST_PIXELS:
        raise Wrong(where, f"height and width are {stated!r}")
    return stated


@dataclass(frozen=True)
class Outlined:
    """A picture of an annotation file: its name as written, its stated height and width, its objects, and its file
    where that is known."""

    where: str
    name: str
    size: tuple[int, int]
    outlines: tuple[Outline, ...]
    file: Path | None = None


def opened(
    pictures_of: Mapping[str, Iterable[Outlined | Wrong]],
    finders: Mapping[str, Finder],
    labels: Sequence[str],
    spec: recipe.Data,
    name: str,
    notes: list[str],
) -> Dataset:
    """The data set of outlined pictures by split; `finders` of each split find its files.

    A picture that cannot be used is left out with a note; more than 5 % of them in a split are a `DataError`.
    """
    paths: list[Path] = []
    targets: list[OutlineMask] = []
    at: dict[str, range] = {}
    turned = 0

    for part, outlined_pictures in pictures_of.items():
        start, wrong = len(paths), list[Wrong]()
        for outlined in outlined_pictures:
            try:
                if isinstance(outlined, Wrong):
                    raise outlined
                file = outlined.file or finders[part].find(outlined.name, outlined.where)
                orientation = _orientation(outlined, header_of(file, spec), file)
            except Wrong as error:
                wrong.append(error)
                continue
            turned += orientation > 1
            paths.append(file)
            targets.append(OutlineMask(outlined.where, outlined.size, outlined.outlines, 0, orientation))
        at[part] = range(start, len(paths))
        where = wrong[0].where if wrong else name
        left_out.judge(wrong, len(at[part]), "pictures", notes, where=where, remedy="repair or remove them", part=part)

    if turned:
        notes.append(
            f"{turned} pictures are turned by their EXIF orientation while their outlines are those of the stored "
            "pixels: the masks were turned along"
        )

    notes += dict.fromkeys(line for finder in finders.values() for line in finder.notes())
    masks = np.empty(len(targets), object)
    for i, target in enumerate(targets):  # a slice would draw them
        masks[i] = target

    settings = pictures.reading(spec, paths, notes)
    pool = pictures.Files(paths, settings)
    given = {
        part: Split(part, pool, np.array(places), masks[places.start : places.stop]) for part, places in at.items()
    }
    splits, divided = complete(given, spec.split, spec.split_seed, name)
    notes += divided
    train = splits.get("train", next(iter(splits.values())))
    facts = pictures.facts(settings, [paths[i] for i in train.indices])

    return Dataset(name, tuple(labels), Looked(splits, notes, tuple(labels), name), notes, facts)


def _orientation(outlined: Outlined, header: Header, file: Path) -> int:
    """EXIF's number where the outlines are those of the stored pixels, else 1; raises `Wrong` for another size."""
    if outlined.size == header.size:
        return 1
    if outlined.size == header.stored:
        return header.orientation
    stated, height_width = (f"{size[1]}x{size[0]}" for size in (outlined.size, header.size))
    raise Wrong(outlined.where, f"says {stated} pixels, and {file} has {height_width}")
