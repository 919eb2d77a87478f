"""Tables of numbers and categories in columns with names (.csv, .tsv), for the formats `table`, `table-values` and
`table-anomaly`: one file that is divided here, or a folder with one file a split.

A row is kept as packed text; what its columns mean is computed from the training rows (`inputs.columns`). A row with
another number of fields, and one without a target, is left out and counted; more than 5 % of them stop the run.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..config import recipe
from ..config.data_keys import option
from ..core.errors import DataError, nearest
from ..inputs import columns, moments, number_text
from . import left_out
from .delimited import READ_ERRORS, opened
from .packed import Chosen, Fields, Texts
from .samples import NAMES, Dataset, Split, complete
from .sniff import examine
from .table import split_files

#: more classes than this are values
MAX_CLASSES = 1000


#: what a gap becomes in a column of numbers, and in one of dates
_GAP = {
    "number": "the mean, and are marked by a column of their own",
    "moment": "no place on a cycle, and are marked by a column of their own",
}


@dataclass(frozen=True)
class Keys:
    """Keys of [data] that the formats of tables have beside those of all."""

    ignore: tuple[str, ...] = option((), "columns that are no input: ids, names, what is known afterwards only")
    categories: tuple[str, ...] = option((), "columns of numbers that are codes (a postcode, a machine's number)")
    decimal: str = option("", "the decimal mark of numbers; empty: found in each column", choices=("", ".", ","))
    dates: str = option(
        "", "order of dates such as 3/4/2024; empty: found in each column", choices=("", *moments.ORDERS)
    )


@dataclass(frozen=True)
class Rows:
    """The input columns of every row as text, and the line of each."""

    path: str
    names: tuple[str, ...]
    fields: Fields
    lines: array[int]

    def __len__(self) -> int:
        return len(self.fields)

    def raw(self, i: int) -> dict[str, np.ndarray]:
        return columns.row(self.names, self.fields[i])

    def source(self, i: int) -> str:
        return f"{self.path}:{self.lines[i]}"


@dataclass(frozen=True)
class Table:
    """One file: its rows, the text of the target column, and the decimal mark where that is known."""

    rows: Rows
    targets: Texts
    decimal: str = ""


#: (tables by split, notes) -> labels, and the targets of each split (N, ...)
Targets = Callable[[dict[str, Table]], tuple[tuple[str, ...], dict[str, np.ndarray]]]
#: (splits, labels) -> the splits with those that are missing, and notes
Divide = Callable[[dict[str, Split], tuple[str, ...]], tuple[dict[str, Split], list[str]]]


def open_with(spec: recipe.Data, targets_of: Targets, divide: Divide | None = None) -> Dataset:
    """The table at `spec.path`. Raises `DataError` naming file and line, or the column."""
    root, keys = Path(spec.path), spec.options if isinstance(spec.options, Keys) else Keys()
    if not spec.path or not root.exists():
        problem = "no table is given" if not spec.path else "no such file or folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a .csv or a folder of them")

    notes: list[str] = []
    files = split_files(root, "csv", notes) if root.is_dir() else {"train": root}
    tables = {name: _read(path, spec, keys, notes) for name, path in files.items()}
    names = next(iter(tables.values())).rows.names

    for table in tables.values():
        if absent := set(names) - set(table.rows.names):
            raise DataError(
                f"has no column {min(absent)!r}", where=table.rows.path, remedy="all files have the same columns"
            )

    labels, targets = targets_of(tables)
    notes += _target_note(tables, targets, spec.label)
    splits = {
        name: Split(name, table.rows, np.arange(len(table.rows)), targets[name]) for name, table in tables.items()
    }
    divide = divide or (lambda splits, labels: complete(splits, spec.split, spec.split_seed, str(root), labels))
    splits, division = divide(splits, labels)
    train = next(splits[name] for name in NAMES if name in splits)
    pool = train.pool
    assert isinstance(pool, Rows)
    filled, shown = _filled(pool.names, Chosen(pool.fields, train.indices), notes)
    decimal = next(iter(tables.values())).decimal
    learned = columns.learned(filled, shown, keys.categories, decimal, keys.dates)
    notes += division + _notes(learned, filled, shown, keys.dates)
    learned = [column for column in learned if column.get("cycles") != []]
    if len(learned) < 1:
        raise DataError("has no column of numbers or categories beside the target", where=str(root))

    facts = {"kind": "columns", "columns": learned, "inputs": columns.width(learned)}

    return Dataset(str(root), labels, splits, notes, facts)


def _filled(names: Sequence[str], rows: Chosen, notes: list[str]) -> tuple[Sequence[str], Chosen]:
    """The columns that have a value in some training row, if any has; `notes` names the others, which are no input."""
    filled = [i for i in range(len(names)) if not all(columns.is_missing(fields[i]) for fields in rows)]
    if not filled or len(filled) == len(names):
        return names, rows
    empty = [repr(name) for i, name in enumerate(names) if i not in filled]
    shown = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if empty[5:] else "")
    notes.append(f"without a value in any training row, and so no input: {shown}")
    return [names[i] for i in filled], rows.columns(filled)


def _target_note(tables: dict[str, Table], targets: dict[str, np.ndarray], label: str) -> list[str]:
    """How a column of values is read that is not written as plain numbers."""
    for name, table in tables.items():
        example = next((text for text in table.targets if columns.number(text) is None), "")
        if example and number_text.notation(table.targets, table.decimal) and targets[name].dtype.kind == "f":
            value = targets[name][table.targets.index(example)].item()
            return [f"{label}: {example!r} is read as the number {value:.10g}; data.decimal states the mark"]
    return []


def _notes(
    learned: Sequence[dict[str, Any]], names: Sequence[str], rows: Sequence[Sequence[str]], dates: str = ""
) -> list[str]:
    """Which columns have gaps, and which categories have values that share no column of their own."""
    notes = []
    for i, column in enumerate(learned):
        if "written" in column:
            special = (fields[i] for fields in rows if columns.number(fields[i]) is None)
            read = ((text, number_text.number(text, column["written"])) for text in special)
            example, value = next(((text, value) for text, value in read if value is not None), ("", 0.0))
            if example:
                notes.append(
                    f"{names[i]}: {example!r} is read as the number {value:.10g}; data.decimal states the mark"
                )
        absent = sum(columns.is_missing(fields[i]) for fields in rows)
        if absent:
            how = "no category" if column["kind"] == "category" else _GAP[column["kind"]]
            notes.append(f"{names[i]}: {absent} of {len(rows)} training rows have no value; they become {how}")
        if column["kind"] == "moment":
            notes.append(
                _moments_note(column, [fields[i] for fields in rows if not columns.is_missing(fields[i])], dates)
            )
        if column["kind"] == "category":
            if len(column["values"]) == 1 and not absent:
                notes.append(f"{names[i]}: is {column['values'][0]!r} in every training row, which says nothing")
            different = len({fields[i].strip() for fields in rows if not columns.is_missing(fields[i])})
            if different > len(column["values"]):
                notes.append(
                    f"{names[i]}: has {different} values, of which the {len(column['values'])} most frequent get a "
                    "column; data.ignore leaves it out"
                )
            if different > 0.5 * len(rows) and different > 20:
                notes.append(
                    f"{names[i]}: nearly every row has a value of its own; name it in data.ignore if it is an id"
                )

    return notes


def _moments_note(column: dict[str, Any], values: Sequence[str], dates: str) -> str:
    """What becomes of a column of dates or times."""
    name, cycles = column["name"], column["cycles"]
    ambiguous = (moments.order_of(values, dates) or ("", False))[1]
    order = f" (read {column['order']}; data.dates states another order)" if ambiguous else ""
    if not cycles:
        return (
            f"{name}: dates such as {values[0]!r} are no input, since a moment does not recur and the training rows "
            f"span too few days to place it in a week or year{order}; where it matters, give hours or days since an "
            "event as a column"
        )

    listed = " and ".join(cycles)
    return (
        f"{name}: of {values[0]!r} and the like the place in the {listed} is the input, and not the moment, which does "
        f"not recur{order}; data.ignore leaves the column out"
    )


def _read(path: Path, spec: recipe.Data, keys: Keys, notes: list[str]) -> Table:
    """Every row of a file; what cannot be used is counted in `notes`."""
    fields, targets, lines = Fields(), Texts(), array("q")
    bad, first = 0, ""
    try:
        layout = examine(path, spec, [(spec.label,)])
        notes += layout.notes
        names = list(layout.names)
        at, target = _places(names, spec.label, keys, path)
        if not names[0]:
            notes.append(f"{path}: the first column has no name, as pandas writes the numbers of rows: it is no input")
        with opened(path) as file:
            for entry in layout.records(file):
                if not entry.fields and not entry.problem:
                    continue
                problem = entry.fault(len(names))
                if not problem and columns.is_missing(entry.fields[target]):
                    problem = f"{spec.label!r} has no value"
                if problem:
                    bad, first = bad + 1, first or f"{path}:{entry.first}: {problem}"
                    continue
                fields.append([entry.fields[i].strip() for i in at])
                targets.append(entry.fields[target].strip())
                lines.append(entry.first)
    except READ_ERRORS as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from error

    where, remedy = str(path), "correct the file, or check data.label and data.quoting"
    left_out.judge([first], len(fields), "rows", notes, where=where, remedy=remedy, count=bad)
    decimal = keys.decimal or ("," if layout.dialect.delimiter == ";" else "")
    return Table(Rows(str(path), tuple(names[i] for i in at), fields, lines), targets, decimal)


def _places(names: list[str], label: str, keys: Keys, path: Path) -> tuple[list[int], int]:
    """Where the inputs and the target stand; raises `DataError` naming the column."""
    where = f"{path}:1"
    if len(set(names)) < len(names) or not all(names[1:]):
        raise DataError("the first line must name every column, each by a name of its own", where=where)

    for name, key in [(label, "data.label"), *((name, "data.ignore") for name in keys.ignore)]:
        if name not in names:
            raise DataError(f"has no column {name!r}", where=where, remedy=f"set {key}; {nearest(name, names)}")

    at = [i for i, name in enumerate(names) if name and name != label and name not in keys.ignore]
    if not at:
        raise DataError("has no column beside the target", where=where)

    return at, names.index(label)


def numbers(tables: dict[str, Table], label: str) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Targets float32 (N, 1) of a column of numbers; raises `DataError` with the line of another value."""
    targets = {}
    for name, table in tables.items():
        written = number_text.notation(table.targets, table.decimal)
        values = [number_text.number(text, written) for text in table.targets]
        if None in values:
            i = values.index(None)
            raise DataError(
                f"{table.targets[i]!r} in the column {label!r} is no finite number",
                where=table.rows.source(i),
                remedy="a column of classes is for another format and task: see docs/tabular.md",
            )
        targets[name] = np.array(values, np.float32)[:, None]

    return (label,), targets


def classes(tables: dict[str, Table], label: str) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Targets int64 (N,) of a column of classes, sorted by name (numbers by size)."""
    different = {text for table in tables.values() for text in table.targets}
    if len(different) > MAX_CLASSES:
        raise DataError(f"the column {label!r} has {len(different)} values: these are no classes", where="data.label")
    by_size = all(columns.number(name) is not None for name in different)
    labels = tuple(sorted(different, key=lambda name: (float(name) if by_size else 0.0, name)))
    at = {name: i for i, name in enumerate(labels)}
    return labels, {name: np.array([at[text] for text in table.targets], np.int64) for name, table in tables.items()}
