"""Tables of files and their classes: a column of files and one of labels, or a column of 0 and 1 a class.

`data.path` is the table or a folder: `labels.csv`, or one table a split (`train.csv`, `train/_classes.csv` of Roboflow,
`train/metadata.csv` of Hugging Face), or one table in `meta/` or `metadata/`. A column `split` divides the rows, and
those of one `fold` stay together. Names of files may lack their ending.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from ..config import recipe
from ..core.errors import DataError, nearest
from . import label_names, left_out, sniff
from .annotations import Finder
from .boxes import Wrong
from .delimited import opened
from .folders import folder_named, split_folders
from .glimpse import split_of
from .samples import NAMES, Pool, Split, complete, fractions, grouped, require_classes, split_named

FILES = (
    "file_name", "filename", "file", "path", "filepath", "image", "image_name", "image_id", "image_path", "img",
    "id", "name", "fname", "slice_file_name", "audio", "sound", "wav", "clip",
)  # fmt: skip
LABELS = ("label", "class", "category", "target", "diagnosis", "species", "breed", "dx")
SPLITS = ("split", "subset", "set", "partition")
#: parts of a cross-validation, which are never divided: what was recorded together is in one of them
FOLDS = ("fold",)
SUFFIXES = (".csv", ".tsv")
#: how tables begin that say what the ids of Open Images' classes are called
NAMES_OF_IDS = "class-descriptions"
#: rows by which a column of files is found that is not called so
_LOOKED_AT = 20
#: what is said of a row of a one-hot table that has more than one class
_SEVERAL = re.compile(r"has (?!0 )\d+ classes")
#: folders of tables whose files lie beside that folder
_BESIDE = ("meta", "metadata", "annotations", "labels")


@dataclass
class Rows:
    """The rows of a split: files, labels as written, folds ("" = none), and what is wrong with rows left out."""

    files: list[Path] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)


@dataclass(frozen=True)
class ClassTable:
    """Files and their classes by split: the folder of the data, labels in order, and what is to be told."""

    root: Path
    labels: tuple[str, ...]
    rows: Mapping[str, Rows]
    notes: list[str]

    def splits(self, pool: Pool, spec: recipe.Data) -> dict[str, Split]:
        """Splits of `pool`, which holds the files of all rows in their order; rows that cannot be used are noted.

        A missing val or test split is taken out of train, by whole folds where the table has some. Raises `DataError`
        for more than 5 % of rows that cannot be used, and for a class without training samples.
        """
        number = {label: i for i, label in enumerate(self.labels)}
        splits, groups, start = {}, list[str](), 0
        for part, rows in self.rows.items():
            targets = np.array([number[label] for label in rows.labels], np.int64)
            splits[part] = Split(part, pool, np.arange(start, start + len(rows.files)), targets)
            start += len(rows.files)
            groups += rows.groups
            if rows.wrong:
                where, remedy = rows.wrong[0].where, "correct or remove them"
                if any(_SEVERAL.search(str(problem)) for problem in rows.wrong):
                    remedy = "rows of several classes at once (multi-label) are not taken: keep one class a row, or "
                    remedy += "give each combination a class of its own in a column of labels"
                left_out.judge(rows.wrong, len(rows.files), "rows", self.notes, where=where, remedy=remedy, part=part)

        self.notes.extend(require_classes(splits, self.labels, str(self.root), spec.split))
        if len(set(groups)) > len(NAMES) and list(splits) == ["train"] and tuple(spec.split) != (1.0, 0.0, 0.0):
            return self._by_fold(splits["train"], np.array(groups), spec)

        splits, divided = complete(splits, spec.split, spec.split_seed, str(self.root), self.labels)
        self.notes.extend(divided)
        return splits

    def _by_fold(self, train: Split, folds: np.ndarray, spec: recipe.Data) -> dict[str, Split]:
        parts = grouped(folds[train.indices], fractions(spec.split), spec.split_seed, str(self.root))
        splits = {name: train.subset(at, name) for name, at in zip(NAMES, parts) if len(at)}
        held = ", ".join(f"{name} {', '.join(np.unique(folds[split.indices]))}" for name, split in splits.items())
        self.notes.append(f"the table's folds are divided whole with seed {spec.split_seed}: {held}")
        self.notes.extend(require_classes(splits, self.labels, str(self.root), spec.split))
        return splits


def open_table(spec: recipe.Data, kind: str, what: str, walk: Callable[[Path], Iterable[Path]]) -> ClassTable:
    """The table or folder at `spec.path`; `walk` lists its files of the kind `what`, usually in a folder `kind`.

    Labels are the sorted names, or the columns of one-hot tables in order. Raises `DataError` naming the table and
    line for what is missing.
    """
    path = Path(spec.path)
    if not spec.path or not path.exists():
        problem = "no such file or folder" if spec.path else "no data is given"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a table of files and labels")

    notes: list[str] = []
    root = path if path.is_dir() else path.parent
    rows_of: dict[str, Rows] = {}
    classes: tuple[str, ...] = ()

    tables = tables_of(path, notes)
    for part in [name for name in tables if name not in ("", "train") and "train" in tables]:
        if (label := _lacking_label(tables[part], tables["train"], spec)) is not None:
            notes.append(f"{tables[part]}: has no {label!r}: it is left out, since nothing says what is right")
            del tables[part]

    for part, table in tables.items():
        top = root.parent if root.name.lower() in _BESIDE and root == table.parent else root
        finder = Finder(top, places(table, top, kind), walk=walk, what=what)
        classes = read(table, part, spec, finder, rows_of, notes) or classes
        notes += finder.notes()

    rows_of = {part: rows_of[part] for part in NAMES if part in rows_of}
    names = {label for rows in rows_of.values() for label in rows.labels}
    labels = classes if classes and names <= set(classes) else tuple(sorted(names))
    label_names.refuse_words(labels, spec.label, str(path))
    return ClassTable(root, labels, rows_of, notes)


def _lacking_label(table: Path, train: Path, spec: recipe.Data) -> str | None:
    """The label column of `train` where `table` has other columns of it and not that one, as competitions hand out."""
    names, of_train = (sniff.examine(file, spec, (FILES, (spec.label, *LABELS))).names for file in (table, train))
    stated = spec.label != recipe.Data().label
    at = _column([name.lower() for name in of_train], [spec.label.lower()] if stated else LABELS)
    absent = at is not None and of_train[at] not in names and set(names) <= set(of_train)
    return of_train[at] if at is not None and absent else None


#: stems of tables that name classes
_LISTS_OF_CLASSES = ("classes", "class_map", "class_mapping", "class_names")


def tables_of(path: Path, notes: list[str]) -> dict[str, Path]:
    """{split: table}; "" where one table has all rows."""
    if path.is_file():
        return {"": path}

    inner = {}
    for part, folder in split_folders(path).items():
        files = _inside(folder)
        if folder != path and len(files) == 1:
            inner[part] = files[0]

    if inner:
        return inner

    tables = _inside(path)
    beside = folder_named(path, _BESIDE)
    tables = tables or (_inside(beside) if beside is not None else [])
    named = {
        part: table for table in tables if (part := split_named(table.stem) or split_of(PurePosixPath(table.name)))
    }

    if "train" in named:
        others = [table.name for table in tables if table not in named.values()]
        rest = [name for name in others if not name.startswith(NAMES_OF_IDS)]
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


def _inside(folder: Path) -> list[Path]:
    """The tables in a folder, without a list of classes beside another table (classes.csv of keras-retinanet)."""
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    others = [table for table in tables if table.stem.strip("_").lower() not in _LISTS_OF_CLASSES]
    return others or tables


@dataclass(frozen=True)
class Columns:
    """Where a table has files, labels and splits; `classes` are columns of 0 and 1 where it has no labels."""

    names: tuple[str, ...]
    file: int
    label: int | None
    split: int | None
    fold: int | None
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


def columns_of(
    table: Path, names: Sequence[str], part: str, spec: recipe.Data, by_content: Callable[[], int | None]
) -> Columns:
    """The columns of a table by their names; `by_content` finds that of files where none is called so."""
    lowered, stated = [name.lower() for name in names], spec.label != recipe.Data().label
    file, label = _column(lowered, FILES), _column(lowered, [spec.label.lower()] if stated else LABELS)
    file = by_content() if file is None else file
    split, fold = (_column(lowered, names_of) if not part else None for names_of in (SPLITS, FOLDS))
    where, shown = f"{table}:1", ", ".join(names)
    if file is None:
        raise DataError(f"has no column of files, only {shown}", where=where, remedy=f"call it {FILES[0]}")
    if label is None and stated:
        raise DataError(f"has no column {spec.label!r}", where=where, remedy=nearest(spec.label, names))

    classes = tuple(i for i in range(len(names)) if i not in (file, split, fold)) if label is None else ()
    if label is None and len(classes) < 2:
        raise DataError(f"has no column of labels, only {shown}", where=where, remedy="set data.label")

    return Columns(tuple(names), file, label, split, fold, classes)


def read(
    table: Path, part: str, spec: recipe.Data, finder: Finder, rows_of: dict[str, Rows], notes: list[str]
) -> tuple[str, ...]:
    """Add the rows of a table to those of its splits; returns the classes where columns of 0 and 1 name them."""
    examined = sniff.examine(table, spec, (FILES, (spec.label, *LABELS)))
    notes += examined.notes
    columns = columns_of(table, examined.names, part, spec, lambda: _file_column(table, examined, finder))

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
                label, file_path = columns.label_of(fields, where), finder.find(fields[columns.file], where)
            except Wrong as error:
                rows_of.setdefault(split, Rows()).wrong.append(error)
                continue
            rows = rows_of.setdefault(split, Rows())
            rows.files.append(file_path)
            rows.labels.append(label)
            rows.groups.append("" if columns.fold is None else fields[columns.fold])

    return tuple(columns.names[i] for i in columns.classes)


def _file_column(table: Path, examined: sniff.Table, finder: Finder) -> int | None:
    """The column whose first values name files that are there, the one with most different values of several."""
    with opened(table) as file:
        rows = [record.fields for record in islice(examined.records(file), _LOOKED_AT)]
    best, most = None, 0
    for at in range(len(examined.names)):
        values = {row[at].strip() for row in rows if len(row) > at}
        found = sum(_is_there(finder, value) for value in values)
        if found * 2 > len(values) and found > most:
            best, most = at, found

    return best


def _is_there(finder: Finder, name: str) -> bool:
    try:
        return bool(name) and finder.find(name, "") is not None
    except Wrong:
        return False


def places(table: Path, root: Path, kind: str) -> list[Path]:
    """Folders that usually hold the files of a table: its own, one called after what they are, or after the table."""
    named = (table.parent, table.parent / kind, table.with_suffix(""), root / kind, root)
    return [place for place in named if place.is_dir()]


def _column(names: Sequence[str], known: Sequence[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)
