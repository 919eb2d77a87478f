"""Boxes in a text file, a line a picture, as keras-yolo3 and YOLOv4 for PyTorch read it and Roboflow writes it.

A line is `a.jpg x1,y1,x2,y2,class x1,y1,x2,y2,class ...`: corners in pixels and the number of a class. Names of classes
stand in classes.txt (`_classes.txt`) beside it, one a line. Splits are folders with a file each; without any the data
is divided here.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...config import recipe
from ...core.errors import DataError
from .. import recognize_tools
from ..annotations import Entry, Finder, Shape, opened, text_of
from ..boxes import Wrong
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset
from ..split_files import located

_NAMES = ("classes", "names", "labels", "class_names")
_BOX = re.compile(r"\s+(-?[\d.]+),(-?[\d.]+),(-?[\d.]+),(-?[\d.]+),(\d+)\s*\Z")


def open(spec: recipe.Data) -> Dataset:
    """The file or folder at `spec.path`; labels are in the order of their numbers.

    Raises `DataError` naming file and line of what is wrong. A picture whose line is wrong, or that is absent, is left
    out; more than 5 % of them in a split stop the run.
    """
    root, files = located(spec, ".txt", "the text file of boxes", _NAMES)
    entries = {part: _entries(file) for part, file in files.items()}
    used = {int(s.label) for part in entries.values() for e in part if isinstance(e, Entry) for s in e.shapes}
    names = _names(root, list(files.values())) or [str(number) for number in range(max(used, default=0) + 1)]
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
        where, shapes, rest = f"{file}:{number}", list[Shape](), line.rstrip()
        while match := _BOX.search(rest):
            try:
                x1, y1, x2, y2 = (float(text) for text in match.groups()[:4])
            except ValueError:
                break
            shapes.insert(0, Shape(match[5], (x1, y1, x2, y2), where))
            rest = rest[: match.start()]

        if re.search(r"[^\s,]+,[^\s,]+,[^\s,]+,[^\s,]+\Z", rest):
            entries.append(Wrong(where, f"{rest.split()[-1]!r} is no x1,y1,x2,y2,class"))
        elif rest.strip():
            entries.append(Entry(where, rest.strip(), tuple(shapes)))

    return entries


def _named(entry: Entry | Wrong, names: list[str]) -> Entry | Wrong:
    if isinstance(entry, Wrong):
        return entry
    shapes = tuple(Shape(names[int(shape.label)], shape.corners, shape.where) for shape in entry.shapes)
    return Entry(entry.where, entry.name, shapes)


def _names(root: Path, files: list[Path]) -> list[str]:
    """Class names in the order of their numbers, [] where no file has them."""
    for folder in dict.fromkeys((root, *(file.parent for file in files))):
        for stem in _NAMES:
            for path in (folder / f"{stem}.txt", folder / f"_{stem}.txt"):
                if path.is_file():
                    return [line.strip() for line in text_of(path).splitlines() if line.strip()]
    return []


FORMAT = Format(
    name="box-lines",
    description="Pictures with boxes in a text file, a line a picture (keras-yolo3, YOLOv4 for PyTorch, Roboflow).",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.box_lines,
)
