"""Pictures with boxes as annotation tools write them: entries that name a picture and its objects become a `Dataset`.

A format reads its files into `Entry` values and leaves to `opened` what all of them share: finding the pictures,
sizes and EXIF orientations, checks of each box, and the notes of pictures that cannot be used.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from ..config import recipe
from ..core import files, strict_json
from ..core.errors import DataError
from ..inputs.picture_file import Header
from . import pictures
from .boxes import Found, Wrong, box, dataset, header_of, picture
from .samples import Dataset

#: what Label Studio puts before the name of an uploaded file
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")


@dataclass(frozen=True)
class Shape:
    """An object: its class, x1 y1 x2 y2 in pixels of the stated picture, and its place for messages."""

    label: str
    corners: tuple[float, float, float, float]
    where: str
    crowd: bool = False
    #: what is drawn as a mask, () for the box itself: x1, y1, x2, y2, ... of a polygon, or run lengths by rows of the
    #: box, of which the first one is outside
    outline: tuple[float, ...] = ()
    runs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A picture of an annotation file: its name as written, its stated height and width, and its objects."""

    where: str
    name: str
    shapes: tuple[Shape, ...] = ()
    size: tuple[int, int] | None = None
    stem: str = ""  # of the picture's name, where no file is called `name`
    percent: bool = False  # corners are percent of the picture's sides


#: entries by split, the finders of their pictures, labels, name of the data, notes, and notes of boxes alone
Read = tuple[dict[str, list["Entry | Wrong"]], dict[str, "Finder"], list[str], str, list[str], list[str]]


@dataclass
class Finder:
    """Finds the picture that an annotation file names: in `places` first, then anywhere below `root` by its name.

    A name must not lead out of the data. `elsewhere` counts those whose folders differ from the written ones. `walk`
    lists all files of the kind `what`.
    """

    root: Path
    places: Sequence[Path]
    elsewhere: list[str] = field(default_factory=list)
    walk: Callable[[Path], Iterable[Path]] = pictures.walk
    what: str = "picture"
    _by_name: dict[str, list[Path]] | None = None

    def find(self, name: str, where: str, stem: str = "") -> Path:
        """The file of `name`, else the one called `stem` up to its ending; raises `Wrong` where none or several fit."""
        inner = _plain(name)
        if ".." in inner.parts or not inner.name:
            raise Wrong(where, f"the {self.what} {name!r} does not exist")

        if not inner.is_absolute():
            for folder in self.places:
                if files.is_file(folder / inner):
                    return folder / inner

        for candidate in dict.fromkeys((inner.name, _UPLOAD.sub("", inner.name), inner.name + ".*", stem + ".*")):
            fitting = self._indexed().get(candidate, [])
            near = [path for path in fitting if path.parent in self.places]
            fitting = near if len(near) == 1 else fitting
            tail = [path for path in fitting if path.as_posix().endswith(inner.as_posix())]
            fitting = tail or fitting
            if len(fitting) > 1:
                raise Wrong(where, f"the {self.what} {name!r} may be {fitting[0]} or {fitting[1]}")
            if fitting:
                if not tail and candidate == inner.name and len(inner.parts) > 1:
                    self.elsewhere.append(f"{name} is {fitting[0]}")
                return fitting[0]

        raise Wrong(where, f"the {self.what} {name!r} does not exist")

    def _indexed(self) -> dict[str, list[Path]]:
        if self._by_name is None:
            self._by_name = {}
            for path in self.walk(self.root):
                for key in (path.name, path.stem + ".*"):
                    self._by_name.setdefault(key, []).append(path)
        return self._by_name

    def notes(self) -> list[str]:
        if not self.elsewhere:
            return []
        return [
            f"{len(self.elsewhere)} {self.what}s do not lie where the annotations say and were found by their names, "
            f"for example {self.elsewhere[0]}"
        ]


def _plain(name: str) -> PurePosixPath:
    """The path of a picture's name: with slashes, and without the address around it (URLs, `?d=` of Label Studio)."""
    path = name.replace("\\", "/")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|/data/", path):
        path = unquote(path.partition("?d=")[2] or path.partition("?")[0])
        path = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]+://", "/", path)
    if re.match(r"[A-Za-z]:/", path):
        path = path[2:]
    return PurePosixPath(path)


@dataclass
class _Turns:
    """How many pictures have a stored orientation: with boxes of the stored pixels, and where it is not clear."""

    stored: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        lines = []
        if self.stored:
            lines.append(
                f"{len(self.stored)} pictures are turned by their EXIF orientation while their boxes are those of the "
                f"stored pixels, for example {self.stored[0]}: the boxes were turned along"
            )

        if self.unclear:
            lines.append(
                f"{len(self.unclear)} pictures are turned or mirrored by their EXIF orientation, which does not change "
                f"their size: boxes are taken as those of the upright picture, for example {self.unclear[0]}"
            )

        return lines


def opened(
    entries_of: Mapping[str, Sequence[Entry | Wrong]],
    finders: Mapping[str, Finder],
    labels: Sequence[str],
    spec: recipe.Data,
    name: str,
    notes: Sequence[str] = (),
) -> Dataset:
    """The data set of entries by split; `finders` of each split find its pictures, `labels` are the classes in order.

    Raises `DataError` as `boxes.dataset`. A picture with an entry that is wrong is left out with a note.
    """
    numbers = {label: i for i, label in enumerate(labels)}
    turns = _Turns()
    boxes_of: dict[str, Found] = {}

    for part, entries in entries_of.items():
        annotations = boxes_of[part] = Found()
        for entry in entries:
            try:
                if isinstance(entry, Wrong):
                    raise entry
                _add(entry, finders[part], numbers, spec, annotations, turns)
            except Wrong as error:
                annotations.bad.append(error)

    result = dataset(name, tuple(labels), boxes_of, spec)
    by_finder = {id(finder): finder for finder in finders.values()}.values()
    result.notes[:0] = [*notes, *turns.notes(), *(line for finder in by_finder for line in finder.notes())]
    return result


def _add(
    entry: Entry, finder: Finder, numbers: Mapping[str, int], spec: recipe.Data, annotations: Found, turns: _Turns
) -> None:
    file = finder.find(entry.name, entry.where, entry.stem)
    header = header_of(file, spec)
    size = entry.size or header.size
    if size not in (header.size, header.stored):
        raise Wrong(
            entry.where,
            f"says {size[1]}x{size[0]} pixels, and {file} has {header.size[1]}x{header.size[0]}",
        )

    as_stored = size != header.size
    if as_stored:
        turns.stored.append(str(file))
    elif header.orientation > 1 and header.stored == header.size:
        turns.unclear.append(str(file))

    rows = []
    for shape in entry.shapes:
        if shape.label not in numbers:
            raise Wrong(shape.where, f"the class {shape.label!r} is not among the classes")
        corners = shape.corners
        if entry.percent:
            x, y = size[1] / 100, size[0] / 100
            corners = corners[0] * x, corners[1] * y, corners[2] * x, corners[3] * y
        corners = upright(corners, header) if as_stored else corners
        rows.append((numbers[shape.label], box(corners, header.size, shape.where), shape.crowd))

    if not rows:
        annotations.empty.append(str(file))

    picture(file, header.size, rows, annotations)


def upright(corners: Sequence[float], header: Header) -> tuple[float, float, float, float]:
    """x1 y1 x2 y2 of the stored pixels as those of the upright picture (the eight orientations of EXIF)."""
    h, w = header.stored

    def turned(x: float, y: float) -> tuple[float, float]:
        return {
            1: (x, y), 2: (w - x, y), 3: (w - x, h - y), 4: (x, h - y),
            5: (y, x), 6: (h - y, x), 7: (h - y, w - x), 8: (y, w - x),
        }[header.orientation]  # fmt: skip

    (x1, y1), (x2, y2) = turned(*corners[:2]), turned(*corners[2:])
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def turned_box(x: float, y: float, w: float, h: float, degrees: float) -> tuple[float, float, float, float]:
    """The upright box around one of corner (x, y) that is turned clockwise around its middle."""
    angle = math.radians(degrees)
    half_w = (abs(w * math.cos(angle)) + abs(h * math.sin(angle))) / 2
    half_h = (abs(w * math.sin(angle)) + abs(h * math.cos(angle))) / 2
    cx, cy = x + w / 2, y + h / 2
    return cx - half_w, cy - half_h, cx + half_w, cy + half_h


def turned_points(x: float, y: float, w: float, h: float, degrees: float) -> list[tuple[float, float]]:
    """The corners of that box itself."""
    angle, cx, cy = math.radians(degrees), x + w / 2, y + h / 2
    across, down = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    return [
        (cx + i * w / 2 * across[0] + k * h / 2 * down[0], cy + i * w / 2 * across[1] + k * h / 2 * down[1])
        for i, k in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]


@dataclass
class Kinds:
    """What the shapes of a data set are besides boxes, for its notes: outlines become boxes, others are left out."""

    outlines: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def of_boxes(self) -> list[str]:
        """What is to be told where the shapes become boxes."""
        named = ", ".join(f"{n} {kind}" for kind, n in self.outlines.most_common())
        return [f"the upright boxes around outlines are taken: {named}"] if named else []

    def not_read(self) -> list[str]:
        """What is to be told of shapes that are left out."""
        lines = []
        if self.left_out:
            named = ", ".join(f"{n} {kind}" for kind, n in self.left_out.most_common())
            lines.append(f"annotations that are no boxes are left out: {named}")
        return lines


def json_of(path: Path) -> Any:
    """The content of a JSON file; raises `DataError` naming the line."""
    try:
        return strict_json.loads(text_of(path))
    except json.JSONDecodeError as error:
        raise DataError(f"is not JSON: {error.msg}", where=f"{path}:{error.lineno}") from error
    except RecursionError as error:
        raise DataError("is nested too deeply", where=str(path)) from error


def xml_of(path: Path) -> ElementTree.Element:
    """The root of an XML file; raises `DataError` naming the line. Entities that a document defines are refused."""
    try:
        content = path.read_bytes()
        if b"<!ENTITY" in content.replace(b"\0", b""):
            raise DataError("defines XML entities, which are not read", where=str(path))
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise DataError(f"is not XML: {error}", where=f"{path}:{error.position[0]}") from error
    except (OSError, ValueError, LookupError) as error:
        raise DataError(f"cannot be read as XML ({error})", where=str(path)) from error


def numbers_of(values: Mapping[str, Any], keys: Sequence[str], where: str) -> list[float]:
    """The values of `keys` as finite numbers; raises `Wrong` naming the key."""
    numbers = []
    for key in keys:
        try:
            number = float(values[key])
        except (KeyError, TypeError, ValueError):
            raise Wrong(where, f"{key!r} is {values.get(key)!r}, expected a number") from None
        if not math.isfinite(number):
            raise Wrong(where, f"{key!r} is not finite")
        numbers.append(number)

    return numbers


def around(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """The box around points."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def text_of(path: Path) -> str:
    """The text of an annotation file, with or without a byte-order mark; raises `DataError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read as text ({error})", where=str(path)) from error


def class_names(folders: Iterable[Path], files_of_names: Sequence[str]) -> tuple[str, ...]:
    """The lines of the first of these files in the first folder that has one, () without any; raises `DataError`."""
    path = next((folder / name for folder in folders for name in files_of_names if (folder / name).is_file()), None)
    return () if path is None else tuple(line.strip() for line in text_of(path).splitlines() if line.strip())
