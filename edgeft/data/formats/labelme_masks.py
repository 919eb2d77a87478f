"""Masks from labelme's files: the polygons, rectangles and circles of each picture, drawn over `background`.

Shapes are drawn in the order of the file, so that a later one covers an earlier one, as labelme itself does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...config import recipe
from ...core.errors import DataError
from .. import outlines, recognize_tools
from ..annotations import Finder
from ..boxes import Wrong
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset
from . import labelme


def open(spec: recipe.Data) -> Dataset:
    """The folder at `spec.path`; labels are the background and the classes of the shapes, sorted.

    Raises `DataError` naming the file of what is wrong; a picture with a shape that is wrong is left out, and more than
    5 % of them in a split stop the run. `Missing` without pycocotools.
    """
    root, files_of, notes = labelme.located(spec)
    names: set[str] = set()
    drawn = {part: [_shapes(path, names) for path in files] for part, files in files_of.items()}
    labels = (outlines.BACKGROUND, *sorted(names - {outlines.BACKGROUND, "_background_"}))
    if len(labels) < 2:
        raise DataError("has no shape that encloses an area", where=str(root), remedy="draw polygons")

    pictures_of = {part: [_outlined(entry, labels) for entry in entries] for part, entries in drawn.items()}
    finders = {part: Finder(root, sorted({path.parent for path in files})) for part, files in files_of.items()}
    return outlines.opened(pictures_of, finders, labels, spec, str(root), notes)


#: file, name of the picture, its size, and (label, corners) of each shape
_Drawn = tuple[Path, str, tuple[int, int], list[tuple[str, tuple[float, ...]]]]


def _shapes(path: Path, names: set[str]) -> _Drawn | Wrong:
    try:
        name, stated, rows = labelme.table_of(path)
        size, shapes = outlines.size_of(stated, str(path)), []
        for i, row in enumerate(rows):
            where = f"{path}: shapes[{i}]"
            corners = labelme.outline_of(row, where)
            if corners is not None:
                points = outlines.polygon([v for point in corners for v in point], size, where)
                shapes.append((labelme.label_of(row, where), points))
    except Wrong as error:
        return error

    names.update(label for label, _ in shapes)
    return path, name, size, shapes


def _outlined(drawn: _Drawn | Wrong, labels: Sequence[str]) -> outlines.Outlined | Wrong:
    if isinstance(drawn, Wrong):
        return drawn
    path, name, size, shapes = drawn
    numbers = {label: i for i, label in enumerate(labels)}
    inner = tuple(outlines.Outline(numbers.get(label, 0), (points,)) for label, points in shapes)
    return outlines.Outlined(str(path), name, size, inner)


FORMAT = Format(
    name="labelme-masks",
    description="Pictures with a JSON file of polygons each, as labelme writes them, drawn as masks.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.labelme_masks,
)
