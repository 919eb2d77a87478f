"""Boxes in a table, a row a box: TensorFlow's and Roboflow's CSV, Open Images, Kaggle's, keras-retinanet's.

Columns are known by their usual names: the picture, the class, and xmin ymin xmax ymax, x1 y1 x2 y2, left top right
bottom, x y w h, or one column `bbox` of [x, y, width, height]. Corners are pixels, or shares of the sides where none is
above 1. A table without a header has the picture, x1, y1, x2, y2 and the class. A row without numbers is a picture
without objects; a table without classes has one, `object`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...config import recipe
from ...core import strict_json
from ...core.errors import DataError, nearest
from .. import class_table, recognize_columns, sniff
from ..annotations import Entry, Finder, Shape, numbers_of, opened, text_of
from ..box_columns import BOX, CORNERS, FILES, LABELS
from ..boxes import Wrong
from ..delimited import opened as opened_file
from ..pictures import KEYS
from ..record import Format
from ..samples import NAMES, Dataset, split_named

#: the class of a table that names none
OBJECT = "object"
_HEADERLESS = ("file", "x1", "y1", "x2", "y2", "class")


@dataclass
class _Picture:
    """The rows of one picture: its place, stated height and width, boxes, and what is wrong with one of them."""

    where: str
    size: tuple[int, int] | None
    boxes: list[tuple[str, tuple[float, float, float, float], str]] = field(default_factory=list)
    wrong: Wrong | None = None


@dataclass(frozen=True)
class _Columns:
    """Where a table has what it says; `corners` are names of columns, () where one column `box` has all four."""

    names: tuple[str, ...]
    file: str
    label: str
    split: str
    corners: tuple[str, ...]
    sides: bool
    box: str = ""

    def box_of(self, row: Mapping[str, str], where: str) -> tuple[float, float, float, float] | None:
        """x1 y1 x2 y2 of a row, None for one without numbers."""
        if self.box:
            text = row[self.box].strip()
            if not text:
                return None
            try:
                values = strict_json.loads(text)
            except ValueError:
                values = None
            if not isinstance(values, list) or len(values) != 4:
                raise Wrong(where, f"{self.box!r} is {text!r}, expected [x, y, width, height]")
            x, y, w, h = numbers_of(dict(zip("xywh", values)), ("x", "y", "w", "h"), where)
            return x, y, x + w, y + h

        if not any(row[name].strip() for name in self.corners):
            return None

        a, b, c, d = numbers_of(row, self.corners, where)
        return (a, b, a + c, b + d) if self.sides else (a, b, c, d)


def open(spec: recipe.Data) -> Dataset:
    """The table or folder at `spec.path`; labels are the sorted class names.

    Raises `DataError` naming the table and line: no column of pictures or corners. A picture with a row that is wrong,
    or that is absent, is left out; more than 5 % of them in a split stop the run.
    """
    path = Path(spec.path)
    if not spec.path or not path.exists():
        problem = "no such file or folder" if spec.path else "no data is given"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a table of boxes")

    notes: list[str] = []
    root = path if path.is_dir() else path.parent
    pictures_of: dict[str, dict[str, _Picture]] = {}
    finders: dict[str, Finder] = {}

    for part, table in class_table.tables_of(path, notes).items():
        finder = Finder(root, [*class_table.places(table, root, "images")])
        for split, rows in _read(table, part, spec, notes).items():
            pictures_of.setdefault(split, {}).update(rows)
            finders[split] = finder

    values = [v for rows in pictures_of.values() for p in rows.values() for _, corners, _ in p.boxes for v in corners]
    shares = bool(values) and max(map(abs, values)) <= 1
    if shares:
        notes.append("no corner is above 1: they are taken for shares of the sides")

    ids = {label for rows in pictures_of.values() for p in rows.values() for label, _, _ in p.boxes}
    names = _names_of_ids(root, ids, notes)
    entries = {
        part: [_entry(name, picture, shares, names) for name, picture in pictures_of[part].items()]
        for part in NAMES
        if part in pictures_of
    }
    labels = sorted({names.get(label, label) for label in ids})

    return opened(entries, finders, labels, spec, str(root), notes)


def _names_of_ids(root: Path, ids: Collection[str], notes: list[str]) -> dict[str, str]:
    """{id such as /m/01g317: its name} of Open Images' class-descriptions*.csv beside the table; {} without ids."""
    tables = sorted(root.glob(f"{class_table.NAMES_OF_IDS}*.csv"))
    if not tables or not all(re.fullmatch(r"/[a-z]/\w+", label) for label in ids):
        return {}

    try:
        rows = list(csv.reader(io.StringIO(text_of(tables[0]))))
    except csv.Error as error:
        raise DataError(f"cannot be read as a table ({error})", where=str(tables[0])) from error

    names = {row[0].strip(): row[1].strip() for row in rows if len(row) == 2 and row[0].strip() in ids}
    if len(set(names.values())) < len(names):
        return {}  # two ids of one name stay two classes

    notes.append(f"classes are called as {tables[0].name} says")
    return names


def _entry(name: str, picture: _Picture, shares: bool, names: Mapping[str, str]) -> Entry | Wrong:
    if picture.wrong is not None:
        return picture.wrong
    factor = 100.0 if shares else 1.0
    shapes = [
        Shape(names.get(label, label), (a * factor, b * factor, c * factor, d * factor), where)
        for label, (a, b, c, d), where in picture.boxes
    ]
    return Entry(picture.where, name, tuple(shapes), picture.size, Path(name).stem, percent=shares)


def _read(table: Path, part: str, spec: recipe.Data, notes: list[str]) -> dict[str, dict[str, _Picture]]:
    """{split: {picture: its rows}} of a table."""
    examined = sniff.examine(table, spec, (FILES, *[(name,) for names, _ in CORNERS for name in names], BOX))
    notes += examined.notes
    columns = _columns(table, examined.names, examined.header, part, spec)
    pictures_of: dict[str, dict[str, _Picture]] = {}

    with opened_file(table) as file:
        for record in examined.records(file):
            if not record.fields and not record.problem:
                continue
            where = f"{table}:{record.first}"
            if fault := record.fault(len(columns.names)):
                raise DataError(f"cannot be read as a row ({fault})", where=where, remedy="correct the row")
            row = {name: text.strip() for name, text in zip(columns.names, record.fields)}
            split = part or "train"
            if columns.split and not (split := split_named(row[columns.split])):
                raise DataError(f"{row[columns.split]!r} is no split", where=where, remedy="train, val or test")
            picture = pictures_of.setdefault(split, {}).setdefault(
                row[columns.file], _Picture(where, _size(row, columns))
            )
            try:
                corners = columns.box_of(row, where)
                label = row[columns.label] if columns.label else OBJECT
                if corners is not None and not label:
                    raise Wrong(where, "has no class")
                if corners is not None:
                    picture.boxes.append((label, corners, where))
            except Wrong as error:
                picture.wrong = picture.wrong or error

    return pictures_of


def _columns(table: Path, names: Sequence[str], header: bool, part: str, spec: recipe.Data) -> _Columns:
    where = f"{table}:1"
    if not header:
        if len(names) != len(_HEADERLESS):
            raise DataError(
                f"has {len(names)} columns and no header",
                where=where,
                remedy=f"name the columns, or give {', '.join(_HEADERLESS)}",
            )
        return _Columns(_HEADERLESS, "file", "class", "", ("x1", "y1", "x2", "y2"), False)

    lowered = tuple(name.lower() for name in names)
    stated = spec.label.lower() if spec.label != recipe.Data().label else ""
    if stated and stated not in lowered:
        raise DataError(f"has no column {spec.label!r}", where=where, remedy=nearest(spec.label, names))

    file = next((name for name in FILES if name in lowered), "")
    corners, sides = next(((c, s) for c, s in CORNERS if set(c) <= set(lowered)), ((), False))
    box = "" if corners else next((name for name in BOX if name in lowered), "")

    if not file or not (corners or box):
        missing = "corners" if file else "pictures"
        known = f"call them {', '.join(CORNERS[0][0])}" if file else f"call it {FILES[0]}"
        raise DataError(f"has no columns of {missing}, only {', '.join(names)}", where=where, remedy=known)

    label = stated or next((name for name in LABELS if name in lowered and name != file), "")
    split = "" if part else next((name for name in class_table.SPLITS if name in lowered), "")
    return _Columns(lowered, file, label, split, tuple(corners), sides, box)


def _size(row: Mapping[str, str], columns: _Columns) -> tuple[int, int] | None:
    """The stated height and width of the picture, where the columns are not those of the box."""
    if "width" in columns.corners:
        return None
    values = [row.get("height", ""), row.get("width", "")]
    return (int(values[0]), int(values[1])) if all(value.isdecimal() for value in values) else None


FORMAT = Format(
    name="box-table",
    description="Pictures with boxes in a table, a row a box (TensorFlow's and Roboflow's CSV, Open Images, Kaggle).",
    open=open,
    keys=(*KEYS, "label", "delimiter", "encoding", "quoting", "header"),
    recognize=recognize_columns.box_table,
)
