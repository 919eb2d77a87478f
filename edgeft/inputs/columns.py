"""Rows of a table with named columns, numbers and categories: read one, and make the graph's input tensor from it.

A raw row is {"names": (K,), "values": (K,)}, both text as a .csv has them: what a column means stands in the
`preprocess` table alone, computed from the training rows. A number becomes (x - mean) / std; a category one column a
value, 1 where it is that one. Where a training row had no number, a further column is 1 where there is none, and the
number is then the mean. A category that training never showed is none of the values. A date or a time of day becomes
its places on the cycles of day, week and year (`moments.py`).

The same arithmetic is in the bundle's `run.py` (edgeft/inputs/run_columns.py); a test holds both bit-equal.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import BundleError, DataError, nearest
from . import column_summary, moments, number_text
from .column_summary import is_missing

_KINDS = ("number", "category", "moment")
_LARGEST = float(np.finfo(np.float32).max)


def number(value: str) -> float | None:
    """The finite number that a field holds, or None."""
    return number_text.number(value)


def row(names: Sequence[str], values: Sequence[str]) -> dict[str, np.ndarray]:
    """A raw row."""
    return {"names": np.array(list(names)), "values": np.array(list(values))}


class _Listed:
    """Rows in memory as `column_summary` reads them."""

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        self._rows = rows

    def columns(self) -> Iterator[list[tuple[str, ...]]]:
        if len(self._rows):
            yield list(zip(*self._rows))


def learned(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    categories: Sequence[str] = (),
    decimal: str = "",
    dates: str = "",
) -> list[dict[str, Any]]:
    """The `columns` of the `preprocess` table from training rows of text.

    A column whose values are all numbers in one notation (`number_text`; `decimal` is its mark where that is known) is
    one, unless `categories` names it; one whose values are all dates or times (`moments`; `dates` is their order where
    that is known) is their places on cycles, of which it may have none. Raises `DataError` for a column that has
    no value at all, and for an unknown name in `categories`.
    """
    require_known(names, categories)
    summaries = column_summary.summaries(names, _Listed(rows), categories, decimal, dates)
    for summary in summaries:
        if not summary.column:
            problem = f"the column {summary.name!r} has no value in any training row"
            raise DataError(problem, where="data.path", remedy="remove it")
    return [summary.column for summary in summaries]


def require_known(names: Sequence[str], categories: Sequence[str]) -> None:
    """Raise `DataError` for one of `categories` that is no column."""
    for name in categories:
        if name not in names:
            raise DataError(f"{name!r} is no column", where="data.categories", remedy=nearest(name, names))


def width(columns: Sequence[Mapping[str, Any]]) -> int:
    """How many numbers a row becomes."""
    return sum(map(_width, columns))


def _width(column: Mapping[str, Any]) -> int:
    if column["kind"] == "category":
        return len(column["values"])
    return (2 * len(column["cycles"]) if column["kind"] == "moment" else 1) + bool(column["missing"])


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table from the data's facts (`columns`, computed from the training rows)."""
    if "columns" not in facts:
        raise DataError("these data have no named columns", where="data.format", remedy='set data.format = "table"')
    columns = [dict(column) for column in facts["columns"]]
    return {"kind": "columns", "size": [width(columns)], "input": "x", "columns": columns}


def check(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns of `spec`; raises `BundleError` naming what cannot be followed."""

    def fail(problem: str) -> BundleError:
        return BundleError(problem, where="preprocess.columns")

    columns = spec.get("columns")
    if not isinstance(columns, (list, tuple)) or not columns or not all(isinstance(c, Mapping) for c in columns):
        raise fail("expected a list of tables, one a column")

    for column in columns:
        if not isinstance(column.get("name"), str) or column.get("kind") not in _KINDS:
            raise fail(f"expected a name and a kind ({' or '.join(_KINDS)}) in {dict(column)}")
        if column["kind"] == "category":
            values = column.get("values")
            if not isinstance(values, (list, tuple)) or not all(isinstance(v, str) for v in values):
                raise fail(f"the values of {column['name']!r} are {values!r}, expected texts")
            continue
        if column["kind"] == "moment":
            if problem := moments.check(column):
                raise fail(problem)
            continue
        figures = [column.get("mean"), column.get("std")]
        if not all(type(v) in (int, float) and abs(v) <= _LARGEST for v in figures) or not column["std"] > 0:
            raise fail(f"mean and std of {column['name']!r} are {figures}, expected finite numbers, std above 0")
        if type(column.get("missing")) is not bool:
            raise fail(f"missing of {column['name']!r} is {column.get('missing')!r}, expected true or false")
        written = column.get("written", {"decimal": ".", "thousands": "", "unit": ""})
        if not isinstance(written, Mapping) or {"decimal", "thousands", "unit"} - {
            key for key, value in written.items() if isinstance(value, str)
        }:
            raise fail(f"written of {column['name']!r} is {written!r}, expected texts decimal, thousands and unit")

    size = spec.get("size")
    if not isinstance(size, (list, tuple)) or list(size) != [width(columns)]:
        raise BundleError(f"is {size!r}, expected [{width(columns)}]", where="preprocess.size")
    if not isinstance(spec.get("input"), str):
        raise BundleError(f"is {spec.get('input')!r}, expected the name of the graph's input", where="preprocess.input")

    return [dict(column) for column in columns]


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (1, K)} of a raw row; columns that the model does not take are passed over.

    Raises `DataError` naming the column that is absent or holds no number, `BundleError` for a spec that cannot be
    followed.
    """
    columns = check(spec)
    try:
        fields = dict(zip(map(str, raw["names"]), map(str, raw["values"]), strict=True))
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise DataError('expected {"names": (K,), "values": (K,)}', where="row") from error

    parts: list[float] = []
    for column in columns:
        name = column["name"]
        if name not in fields:
            raise DataError(f"has no column {name!r}", where="row", remedy=nearest(name, list(fields)))
        parts += numbers_of(column, fields[name].strip())

    return {str(spec["input"]): np.array([parts], np.float32)}


def numbers_of(column: Mapping[str, Any], value: str) -> list[float]:
    absent = is_missing(value)
    if column["kind"] == "category":
        return [float(not absent and value == known) for known in column["values"]]
    if absent:
        return [0.0] * (_width(column) - column["missing"]) + [1.0] * column["missing"]

    if column["kind"] == "moment":
        moment = moments.read(value, column["order"])
        if moment is None:
            raise DataError(f"{value!r} in the column {column['name']!r} is no date or time", where="row")
        return moments.places(moment, column["cycles"]) + [0.0] * column["missing"]

    parsed = number_text.number(value, column.get("written"))
    if parsed is None:
        raise DataError(f"{value!r} in the column {column['name']!r} is no finite number", where="row")

    scaled = (parsed - column["mean"]) / column["std"]
    return [scaled, 0.0] if column["missing"] else [scaled]


def read(path: str | Path, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A raw row of a .csv (.tsv: tabs) with a header and one row, or of the text "name=value, name=value" or of the
    values alone in the order of the model's columns. Raises `DataError` for anything else."""
    text = str(path)
    try:
        is_file = Path(text).is_file()
    except OSError:  # a row may be longer than a name can be
        is_file = False
    if is_file:
        return _from_file(Path(text), spec)
    return parse(text, spec)


def parse(text: str, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A raw row of the text "name=value, name=value", or of the values alone in the order of the model's columns; no
    file is opened. Raises `DataError` for anything else."""
    names = [column["name"] for column in check(spec)]
    divided = [next(csv.reader([text], delimiter=mark, skipinitialspace=True), []) for mark in (",", ";", "\t")]
    fields = next((parts for parts in divided if len(parts) == len(names)), divided[0])
    pairs = [field.partition("=") for field in fields]
    if fields and all(name.strip() in names and equals for name, equals, _ in pairs):
        return row([name.strip() for name, _, _ in pairs], [value.strip() for _, _, value in pairs])

    if len(fields) != len(names):
        raise DataError(
            f"is no file, and has {len(fields)} values for the columns {', '.join(names)}",
            where=text[:80],
            remedy=f'for example "{names[0]}=..., ..." or a .csv with a header and one row',
        )

    return row(names, fields)


def rows(path: str | Path, spec: Mapping[str, Any]) -> list[tuple[str, dict[str, np.ndarray]]]:
    """(a name, the raw row) of each row of a table that has several; empty for one row, and for anything but a file.

    Raises `DataError` for a file that is no table.
    """
    try:
        if not Path(path).is_file():
            return []
    except OSError:
        return []
    names, entries = _table(Path(path), spec)
    return [(f"{path}:{line}", row(names, fields)) for line, fields in entries] if len(entries) > 1 else []


def _from_file(path: Path, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    names, entries = _table(path, spec)
    if len(entries) != 1:
        raise DataError(
            f"has {len(entries)} rows beside its header, expected one",
            where=str(path),
            remedy="give the names of the columns in the first line and their values in the second",
        )
    return row(names, entries[0][1])


def _table(path: Path, spec: Mapping[str, Any]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """(names of the columns, the line and fields of each row), by the delimiter that finds most names of the model."""
    known = {column["name"] for column in check(spec)}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(
                "\t,;" if path.suffix.lower() == ".tsv" else ",;\t", key=lambda mark: _hits(first, mark, known)
            )
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            entries = [(reader.line_num, fields) for fields in reader if fields]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read as a table ({error})", where=str(path)) from error

    names = [name.strip() for name in entries[0][1]] if entries else []
    if all(name.isdigit() for name in known) and not known & set(names):  # trained on a table without a header
        names = [str(i) for i in range(len(names))]
    else:
        entries = entries[1:]

    for line, fields in entries:
        if len(fields) != len(names):
            raise DataError(
                f"has {len(fields)} fields where the header has {len(names)}",
                where=f"{path}:{line}",
                remedy="give the names of the columns in the first line, and as many values in each other line",
            )

    return names, entries


def _hits(line: str, delimiter: str, known: Collection[str]) -> tuple[int, int]:
    """How many of the names `known` stand in a line by this delimiter, and how often that stands there."""
    fields = next(csv.reader([line], delimiter=delimiter), [])
    return len({field.strip() for field in fields} & set(known)), line.count(delimiter)


def shown(raw: Mapping[str, Any]) -> str:
    """A raw row in words."""
    return ", ".join(f"{name} {value}" for name, value in zip(raw["names"], raw["values"]))


def draw(raw: Mapping[str, Any], decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The row in words, for a report."""
    return {"text": shown(raw)}
