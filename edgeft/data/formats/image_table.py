"""Pictures whose classes stand in a table: a column of files and a column of labels, or a column of 0 and 1 a class.

`data.path` is the table or a folder: `labels.csv`, or one table a split (`train.csv`, `train/_classes.csv` of Roboflow,
`train/metadata.csv` of Hugging Face). A column `split` divides the rows. Names of files may lack their ending.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...config import recipe
from ...core.errors import DataError, nearest
from .. import pictures, recognize_columns, sniff
from ..annotations import Finder
from ..boxes import Wrong
from ..delimited import opened
from ..folders import MAX_UNREADABLE, Scanned, split_folders
from ..record import Format
from ..samples import NAMES, Dataset, Split, complete, require_classes, split_named

FILES = (
    "file_name", "filename", "file", "path", "filepath", "image", "image_name", "image_id", "image_path", "img",
    "id", "name",
)  # fmt: skip
LABELS = ("label", "class", "category", "target", "diagnosis", "species", "breed", "dx")
SPLITS = ("split", "subset", "set", "partition", "fold")
SUFFIXES = (".csv", ".tsv")


@dataclass
class _Rows:
    """The rows of a split: files, labels as written, and what is wrong with the rows that are left out."""

    files: list[Path] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)


def open(spec: recipe.Data) -> Dataset:
    """The table or folder at `spec.path`; labels are the sorted names, or the columns of one-hot tables in order.

    Raises `DataError` naming the table and line: no column of files or labels, and more than 5 % of a split's rows
    whose picture is absent or that have no class (fewer are left out with a note).
    """
    path = Path(spec.path)
    if not spec.path or not path.exists():
        problem = "no such file or folder" if spec.path else "no data is given"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a table of files and labels")
    notes: list[str] = []
    root = path if path.is_dir() else path.parent
    rows_of: dict[str, _Rows] = {}
    columns: tuple[str, ...] = ()
    for part, table in _tables(path, notes).items():
        columns = _read(table, part, root, spec, rows_of, notes) or columns
    rows_of = {part: rows_of[part] for part in NAMES if part in rows_of}
    names = {label for rows in rows_of.values() for label in rows.labels}
    labels = columns if columns and names <= set(columns) else tuple(sorted(names))
    return _dataset(root, labels, rows_of, spec, notes)


def _dataset(
    root: Path, labels: tuple[str, ...], rows_of: dict[str, _Rows], spec: recipe.Data, notes: list[str]
) -> Dataset:
    number = {label: i for i, label in enumerate(labels)}
    paths = [file for rows in rows_of.values() for file in rows.files]
    settings = pictures.reading(spec, paths, notes)
    pool, splits, start = pictures.Files(paths, settings), {}, 0
    for part, rows in rows_of.items():
        targets = np.array([number[label] for label in rows.labels], np.int64)
        splits[part] = Split(part, pool, np.arange(start, start + len(rows.files)), targets)
        start += len(rows.files)
        total = len(rows.files) + len(rows.wrong)
        if rows.wrong:
            named = "; ".join(map(str, rows.wrong[:5])) + (" ..." if rows.wrong[5:] else "")
            message = f"{part}: {len(rows.wrong)} of {total} rows cannot be used: {named}"
            if len(rows.wrong) > MAX_UNREADABLE * total:
                raise DataError(message, where=rows.wrong[0].where, remedy="correct or remove them")
            notes.append(f"{message}; they are left out")
    notes += require_classes(splits, labels, str(root), spec.split)
    splits, divided = complete(splits, spec.split, spec.split_seed, str(root), labels)
    notes += divided
    scanned = Scanned(splits, notes, labels, str(root), shares=spec.split)
    return Dataset(str(root), labels, scanned, notes, pictures.facts(settings, paths))


def _tables(path: Path, notes: list[str]) -> dict[str, Path]:
    """{split: table}; "" where one table has all rows."""
    if path.is_file():
        return {"": path}
    inner = {}
    for part, folder in split_folders(path).items():
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if folder != path and len(files) == 1:
            inner[part] = files[0]
    if inner:
        return inner
    tables = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    named = {part: table for table in tables if (part := split_named(table.stem))}
    if "train" in named:
        rest = [table.name for table in tables if table not in named.values()]
        if rest:
            notes.append(f"{path}: tables that are not named after a split are not read: {', '.join(rest)}")
        return named
    if len(tables) != 1:
        raise DataError(
            f"holds {len(tables)} tables ({', '.join(table.name for table in tables[:5])})"
            if tables
            else "holds no table",
            where=str(path),
            remedy="set data.path to the table of files and labels",
        )
    return {"": tables[0]}


@dataclass(frozen=True)
class _Columns:
    """Where a table has files, labels and splits; `classes` are columns of 0 and 1 where it has no labels."""

    names: tuple[str, ...]
    file: int
    label: int | None
    split: int | None
    classes: tuple[int, ...]

    def label_of(self, fields: Sequence[str], where: str) -> str:
        """The class of a row; raises `Wrong` for a row without one or with several."""
        if self.label is not None:
            if not fields[self.label]:
                raise Wrong(where, "has no label")
            return fields[self.label]
        if not {fields[i] for i in self.classes} <= {"0", "1", "0.0", "1.0"}:
            raise DataError(
                "the table has no column of labels, and its other columns are not 0 and 1",
                where=where,
                remedy="set data.label to the column of labels",
            )
        ones = [self.names[i] for i in self.classes if fields[i].startswith("1")]
        if len(ones) != 1:
            raise Wrong(where, f"has {len(ones)} classes ({', '.join(ones)}), expected one")
        return ones[0]


def _columns(table: Path, names: Sequence[str], part: str, spec: recipe.Data) -> _Columns:
    lowered, stated = [name.lower() for name in names], spec.label != recipe.Data().label
    file, label = _column(lowered, FILES), _column(lowered, [spec.label.lower()] if stated else LABELS)
    split = _column(lowered, SPLITS) if not part else None
    where, shown = f"{table}:1", ", ".join(names)
    if file is None:
        raise DataError(f"has no column of files, only {shown}", where=where, remedy=f"call it {FILES[0]}")
    if label is None and stated:
        raise DataError(f"has no column {spec.label!r}", where=where, remedy=nearest(spec.label, names))
    classes = tuple(i for i in range(len(names)) if i not in (file, split)) if label is None else ()
    if label is None and len(classes) < 2:
        raise DataError(f"has no column of labels, only {shown}", where=where, remedy="set data.label")
    return _Columns(tuple(names), file, label, split, classes)


def _read(
    table: Path, part: str, root: Path, spec: recipe.Data, rows_of: dict[str, _Rows], notes: list[str]
) -> tuple[str, ...]:
    """Add the rows of a table to those of its splits; returns the classes where columns of 0 and 1 name them."""
    examined = sniff.examine(table, spec, (FILES, (spec.label, *LABELS)))
    notes += examined.notes
    columns = _columns(table, examined.names, part, spec)
    finder = Finder(root, [place for place in (table.parent, *_places(table, root)) if place.is_dir()])
    with opened(table) as file:
        for record in examined.records(file):
            where, split = f"{table}:{record.first}", part or "train"
            if not record.fields and not record.problem:
                continue
            try:
                if fault := record.fault(len(columns.names)):
                    raise Wrong(where, fault)
                fields = [value.strip() for value in record.fields]
                if columns.split is not None and not (split := split_named(fields[columns.split])):
                    raise DataError(f"{fields[columns.split]!r} is no split", where=where, remedy="train, val or test")
                label, picture = columns.label_of(fields, where), finder.find(fields[columns.file], where)
            except Wrong as error:
                rows_of.setdefault(split, _Rows()).wrong.append(error)
                continue
            rows_of.setdefault(split, _Rows()).files.append(picture)
            rows_of[split].labels.append(label)
    notes += finder.notes()
    return tuple(columns.names[i] for i in columns.classes)


def _places(table: Path, root: Path) -> list[Path]:
    """Folders that usually hold the pictures of a table: images/, that of its name, the data's folder."""
    return [table.parent / "images", table.with_suffix(""), root / "images", root]


def _column(names: Sequence[str], known: Sequence[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


FORMAT = Format(
    name="image-table",
    description="Pictures whose classes stand in a table of files and labels (Kaggle, Roboflow, Hugging Face).",
    open=open,
    keys=(*pictures.KEYS, "label", "delimiter", "encoding", "quoting", "header"),
    recognize=recognize_columns.image_table,
)
