"""Tables of numbers and categories in columns with names (.csv, .tsv), for the formats `table`, `table-values` and
`table-anomaly`: one file that is divided here, or a folder with one file a split.

Rows are kept as packed text (`table_rows.py`); what their columns mean is computed from the training rows
(`inputs.column_summary`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import recipe
from ..config.data_keys import option
from ..core.errors import DataError
from ..inputs import column_summary, columns, moments, number_text
from ..inputs.column_summary import Summary, plain_numbers
from .packed import Chosen
from .samples import NAMES, Dataset, Split, complete
from .table import split_files
from .table_rows import Rows, Table, read

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
    tables = {name: read(path, spec, keys.ignore, keys.decimal, notes) for name, path in files.items()}
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
    decimal = next(iter(tables.values())).decimal
    summaries = _summaries(pool.names, Chosen(pool.fields, train.indices), keys, decimal, notes)
    notes += division + _notes(summaries)
    learned = [summary.column for summary in summaries if summary.column.get("cycles") != []]
    if len(learned) < 1:
        raise DataError("has no column of numbers or categories beside the target", where=str(root))

    facts = {"kind": "columns", "columns": learned, "inputs": columns.width(learned)}

    return Dataset(str(root), labels, splits, notes, facts)


def _summaries(names: Sequence[str], rows: Chosen, keys: Keys, decimal: str, notes: list[str]) -> list[Summary]:
    """The columns that have a value in some training row, if any has; `notes` names the others, which are no input."""
    summaries = column_summary.summaries(names, rows, keys.categories, decimal, keys.dates)
    empty = [repr(summary.name) for summary in summaries if not summary.column]
    if len(empty) == len(summaries):
        problem = f"the column {names[0]!r} has no value in any training row"
        raise DataError(problem, where="data.path", remedy="remove it")

    filled = [summary for summary in summaries if summary.column]
    if empty:
        shown = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if empty[5:] else "")
        notes.append(f"without a value in any training row, and so no input: {shown}")
    columns.require_known([summary.name for summary in filled], keys.categories)
    return filled


def _target_note(tables: dict[str, Table], targets: dict[str, np.ndarray], label: str) -> list[str]:
    """How a column of values is read that is not written as plain numbers."""
    for name, table in tables.items():
        if targets[name].dtype.kind != "f" or table.notation is None:
            continue
        texts = (text for block in table.targets.blocks() for text in block)
        i, example = next(((i, text) for i, text in enumerate(texts) if columns.number(text) is None), (0, ""))
        if example:
            value = targets[name][i].item()
            return [f"{label}: {example!r} is read as the number {value:.10g}; data.decimal states the mark"]
    return []


def _notes(summaries: Sequence[Summary]) -> list[str]:
    """Which columns have gaps, and which categories have values that share no column of their own."""
    notes = []
    for summary in summaries:
        name, column, rows = summary.name, summary.column, summary.rows
        if summary.example is not None:
            text, value = summary.example
            notes.append(f"{name}: {text!r} is read as the number {value:.10g}; data.decimal states the mark")
        if summary.absent:
            how = "no category" if column["kind"] == "category" else _GAP[column["kind"]]
            notes.append(f"{name}: {summary.absent} of {rows} training rows have no value; they become {how}")
        if column["kind"] == "moment":
            notes.append(_moments_note(summary))
        if column["kind"] == "category":
            if len(column["values"]) == 1 and not summary.absent:
                notes.append(f"{name}: is {column['values'][0]!r} in every training row, which says nothing")
            if summary.different > len(column["values"]):
                notes.append(
                    f"{name}: has {summary.different} values, of which the {len(column['values'])} most frequent get "
                    "a column; data.ignore leaves it out"
                )
            if summary.different > 0.5 * rows and summary.different > 20:
                notes.append(f"{name}: nearly every row has a value of its own; name it in data.ignore if it is an id")

    return notes


def _moments_note(summary: Summary) -> str:
    """What becomes of a column of dates or times."""
    name, column, first = summary.name, summary.column, summary.first
    order = f" (read {column['order']}; data.dates states another order)" if summary.ambiguous else ""
    if not column["cycles"]:
        return (
            f"{name}: dates such as {first!r} are no input, since a moment does not recur and the training rows "
            f"span too few days to place it in a week or year{order}; where it matters, give hours or days since an "
            "event as a column"
        )

    listed = " and ".join(column["cycles"])
    return (
        f"{name}: of {first!r} and the like the place in the {listed} is the input, and not the moment, which does "
        f"not recur{order}; data.ignore leaves the column out"
    )


def numbers(tables: dict[str, Table], label: str) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Targets float32 (N, 1) of a column of numbers; raises `DataError` with the line of another value."""
    targets = {}
    for name, table in tables.items():
        values = np.zeros((len(table.targets), 1), np.float32)
        written, start = table.notation, 0
        for block in table.targets.blocks():
            read = plain_numbers(block) if written is None else None
            if read is None:
                parsed = [number_text.number(text, written) for text in block]
                if None in parsed:
                    raise _no_number(table, start + parsed.index(None), label)
                read = np.array(parsed, np.float64)
            with np.errstate(over="ignore"):
                values[start : start + len(block), 0] = read
            start += len(block)
        targets[name] = values

    return (label,), targets


def _no_number(table: Table, i: int, label: str) -> DataError:
    return DataError(
        f"{table.targets[i]!r} in the column {label!r} is no finite number",
        where=table.rows.source(i),
        remedy="a column of classes is for another format and task: see docs/tabular.md",
    )


def classes(tables: dict[str, Table], label: str) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Targets int64 (N,) of a column of classes, sorted by name (numbers by size)."""
    different = {text for table in tables.values() for text in table.different[0]}
    if len(different) > MAX_CLASSES:
        raise DataError(f"the column {label!r} has {len(different)} values: these are no classes", where="data.label")

    by_size = all(columns.number(name) is not None for name in different)
    labels = tuple(sorted(different, key=lambda name: (float(name) if by_size else 0.0, name)))
    at = {name: i for i, name in enumerate(labels)}
    return labels, {name: table.each(at.__getitem__, np.int64) for name, table in tables.items()}
