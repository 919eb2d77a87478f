"""Boxes in a text file, a line a picture, as keras-yolo3 and YOLOv4 for PyTorch read it and Roboflow writes it.

A line is `a.jpg x1,y1,x2,y2,class x1,y1,x2,y2,class ...`: corners in pixels and the number of a class. Names of classes
stand in classes.txt (`_classes.txt`) beside it, one a line. Splits are folders with a file each; without any the data
is divided here.
"""

from __future__ import annotations

import math
from pathlib import Path

from ...config import recipe
from ...core.errors import DataError
from ...inputs.picture_file import SUFFIXES
from .. import recognize_tools
from ..annotations import Entry, Finder, Shape, class_names, opened, text_of
from ..boxes import Wrong
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset
from ..split_files import located

_NAMES = ("classes", "names", "labels", "class_names")
_LISTS = tuple(f"{mark}{stem}.txt" for stem in _NAMES for mark in ("", "_"))
#: commas of a word that is meant as a box, and digits of the number of a class
_FEWEST, _MOST_DIGITS = 3, 4


def open(spec: recipe.Data) -> Dataset:
    """The file or folder at `spec.path`; labels are in the order of their numbers.

    Raises `DataError` naming file and line of what is wrong. A picture whose line is wrong, or that is absent, is left
    out; more than 5 % of them in a split stop the run.
    """
    root, files = located(spec, ".txt", "the text file of boxes", _NAMES)
    entries = {part: _entries(file) for part, file in files.items()}
    used = {int(s.label) for part in entries.values() for e in part if isinstance(e, Entry) for s in e.shapes}
    folders = dict.fromkeys((root, *(file.parent for file in files.values())))
    names = list(class_names(folders, _LISTS)) or [str(number) for number in range(max(used, default=0) + 1)]
    if used and max(used) >= len(names):
        raise DataError(
            f"has boxes of class {max(used)}, and {len(names)} classes are named",
            where=str(root),
            remedy="complete classes.txt",
        )

    named = {part: [_named(entry, names) for entry in rows] for part, rows in entries.items()}
    finders = {part: Finder(root, [file.parent]) for part, file in files.items()}
    return opened(named, finders, names, spec, str(root))


def _entries(file: Path) -> list[Entry | Wrong]:
    entries: list[Entry | Wrong] = []
    for number, line in enumerate(text_of(file).splitlines(), 1):
        where, shapes, rest = f"{file}:{number}", list[Shape](), line.strip()
        while len(parts := rest.rsplit(None, 1)) == 2 and (shape := _shape(parts[1], where)) is not None:
            shapes.append(shape)
            rest = parts[0]

        last = parts[-1] if parts else ""
        if last.count(",") >= _FEWEST and not last.lower().endswith(SUFFIXES):
            entries.append(Wrong(where, f"{last[:80]!r} is no x1,y1,x2,y2,class"))
        elif rest:
            entries.append(Entry(where, rest, tuple(reversed(shapes))))

    return entries


def _shape(word: str, where: str) -> Shape | None:
    """The box that a word says, with the number of its class as its label; None for another word."""
    *corners, label = word.split(",")
    if len(corners) != 4 or not (label.isascii() and label.isdigit() and len(label) <= _MOST_DIGITS):
        return None
    try:
        x1, y1, x2, y2 = (float(text) for text in corners)
    except ValueError:
        return None
    return Shape(label, (x1, y1, x2, y2), where) if math.isfinite(x1 + y1 + x2 + y2) else None


def _named(entry: Entry | Wrong, names: list[str]) -> Entry | Wrong:
    if isinstance(entry, Wrong):
        return entry
    shapes = tuple(Shape(names[int(shape.label)], shape.corners, shape.where) for shape in entry.shapes)
    return Entry(entry.where, entry.name, shapes)


FORMAT = Format(
    name="box-lines",
    description="Pictures with boxes in a text file, a line a picture (keras-yolo3, YOLOv4 for PyTorch, Roboflow).",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.box_lines,
)
