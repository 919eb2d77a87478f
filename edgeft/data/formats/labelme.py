"""labelme's files: a JSON file beside each picture, with shapes of points in pixels.

Rectangles are read; polygons, circles and other outlines count as the upright boxes around them. Splits are folders
(`train/`, `val/`, `test/`); without any the data is divided here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...config import recipe
from ...core.errors import DataError
from .. import recognize_tools
from ..annotations import Entry, Finder, Kinds, Shape, around, json_of, numbers_of, opened
from ..boxes import Wrong
from ..folders import split_folders
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset

#: shapes that enclose an area
OUTLINES = ("rectangle", "polygon", "circle")


def open(spec: recipe.Data) -> Dataset:
    """The folder at `spec.path`; labels are sorted. Raises `DataError` naming the file of what is wrong.

    A picture with a shape that is wrong, or that is absent, is left out; more than 5 % of them in a split stop the run.
    """
    root, files_of, notes = located(spec)
    kinds = Kinds()
    entries = {part: [_entry(path, kinds) for path in files] for part, files in files_of.items()}
    labels = sorted({s.label for part in entries.values() for e in part if isinstance(e, Entry) for s in e.shapes})
    finders = {part: Finder(root, sorted({path.parent for path in files})) for part, files in files_of.items()}
    return opened(entries, finders, labels, spec, str(root), [*notes, *kinds.of_boxes(), *kinds.not_read()])


def located(spec: recipe.Data) -> tuple[Path, dict[str, list[Path]], list[str]]:
    """(folder of the data, {split: its JSON files}, notes); raises `DataError` for a folder without any."""
    root = Path(spec.path)
    if not spec.path or not root.is_dir():
        problem = "no data folder is given" if not spec.path else "no such folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a folder of labelme's files")

    notes: list[str] = []
    files_of = {part: sorted(top.rglob("*.json")) for part, top in split_folders(root, notes).items()}
    empty = next((part for part, files in files_of.items() if not files), "")
    if empty:
        raise DataError(f"there are no files of labelme in {empty}", where=str(root), remedy="expected *.json")

    return root, files_of, notes


def table_of(path: Path) -> tuple[str, tuple[int, int], list[Mapping[str, Any]]]:
    """(name of the picture, stated height and width, shapes) of a file; raises `Wrong` for one of another kind."""
    try:
        table = json_of(path)
    except DataError as error:
        raise Wrong(error.where, error.message) from error

    shapes = table.get("shapes") if isinstance(table, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise Wrong(str(path), "has no list 'shapes'")

    height, width = numbers_of(table, ("imageHeight", "imageWidth"), str(path))
    # the path leads from the file to the picture of another machine; its name is what counts here
    name = str(table.get("imagePath") or path.stem).replace("\\", "/").rpartition("/")[2]
    return name, (int(height), int(width)), shapes


def points_of(shape: Mapping[str, Any], where: str) -> list[tuple[float, float]]:
    """The points of a shape; a rectangle has its two corners, a circle its centre and a point of its rim."""
    rows = shape.get("points")
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 2 for row in rows):
        raise Wrong(where, "'points' is no list of [x, y]")
    pairs = [numbers_of(dict(zip("xy", row)), ("x", "y"), where) for row in rows]
    return [(x, y) for x, y in pairs]


def outline_of(shape: Mapping[str, Any], where: str) -> list[tuple[float, float]] | None:
    """The corners of the area that a shape encloses; None for lines and points, `Wrong` for too few points."""
    kind, points = shape.get("shape_type") or "polygon", points_of(shape, where)
    if kind not in OUTLINES:
        return None
    if len(points) < (3 if kind == "polygon" else 2):
        raise Wrong(where, f"a {kind} has {len(points)} points")
    if kind == "polygon":
        return points

    (x1, y1), (x2, y2) = points[:2]
    if kind == "rectangle":
        return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]

    radius, turn = math.hypot(x2 - x1, y2 - y1), 2 * math.pi / 64
    return [(x1 + radius * math.cos(k * turn), y1 + radius * math.sin(k * turn)) for k in range(64)]


def _entry(path: Path, kinds: Kinds) -> Entry | Wrong:
    try:
        name, size, rows = table_of(path)
        shapes = []
        for i, row in enumerate(rows):
            where = f"{path}: shapes[{i}]"
            outline, kind = outline_of(row, where), row.get("shape_type") or "polygon"
            if outline is None:
                kinds.left_out[str(kind)] += 1
                continue
            if kind != "rectangle":
                kinds.outlines[f"{kind}s"] += 1
            shapes.append(Shape(label_of(row, where), around(outline), where))
    except Wrong as error:
        return error
    return Entry(str(path), name, tuple(shapes), size, path.stem)


def label_of(shape: Mapping[str, Any], where: str) -> str:
    """The class of a shape; raises `Wrong` where it has none."""
    label = shape.get("label")
    if not isinstance(label, str) or not label.strip():
        raise Wrong(where, "has no label")
    return label.strip()


FORMAT = Format(
    name="labelme",
    description="Pictures with a JSON file of shapes each, as labelme writes them.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.labelme,
)
