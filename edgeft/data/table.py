"""Tables of texts and their classes: comma-separated values with a header (.tsv: tabs, and no quoting), or one JSON
object a line.

One file, divided by class with the recipe's seed, or a folder with one file a split (train.csv, reviews_test.jsonl).
Only the place of each record is kept, so memory does not grow with the texts. A record that cannot be used is left out
and counted by its lines; more than 5 % of them stop the run.
"""

from __future__ import annotations

import io
import json
import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..config import recipe
from ..core.errors import DataError, nearest
from ..inputs import text
from .delimited import Dialect, Lines, Oddities, Record, dialect, quoting_hint, records
from .samples import Dataset, Split, complete, require_classes, split_named

SUFFIXES = {"csv": (".csv", ".tsv"), "jsonl": (".jsonl", ".ndjson")}
#: a share of unusable lines above this stops the run
MAX_BAD = 0.05
#: more classes than this are values of a continuous column, or texts
MAX_CLASSES = 1000
#: how pandas and others write that a value is missing
MISSING = frozenset(
    (
        "nan",
        "NaN",
        "-nan",
        "-NaN",
        "NA",
        "N/A",
        "n/a",
        "#N/A",
        "#NA",
        "<NA>",
        "null",
        "NULL",
        "None",
        "1.#QNAN",
        "-1.#IND",
    )
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Layout:
    """How a file is read: "csv" or "jsonl", the dialect of a csv, and the columns that are asked for."""

    kind: str
    dialect: Dialect
    texts: tuple[str, ...]
    label: str


@dataclass
class Records:
    """The usable records of one file by byte offset, length and line; a text is read when it is asked for."""

    path: str
    layout: Layout
    columns: dict[str, int]  # of a csv: where each asked column stands, and how many there are under ""
    starts: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    lines: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.starts)

    def raw(self, i: int) -> str:
        try:
            with _file(self.path) as file:
                file.seek(self.starts[i])
                content = file.read(self.sizes[i])
            values = _values(content, self.layout, self.columns)
            words = _text(values, self.layout)
        except (OSError, ValueError, StopIteration) as error:
            raise DataError(f"the file changed while it was in use ({error})", where=self.source(i)) from error
        return words

    def source(self, i: int) -> str:
        return f"{self.path}:{self.lines[i]}"


def _file(path: str | Path) -> BinaryIO:
    return Path(path).open("rb")


def open(spec: recipe.Data) -> Dataset:
    """The table at `spec.path`, by the columns `spec.text` and `spec.label`.

    Labels are the sorted class names; numbers are sorted as numbers. Raises `DataError` naming file and line for a
    column that is missing, too many unusable records, or labels that are no classes.
    """
    root = Path(spec.path)
    if not spec.path or not root.exists():
        problem = "no table is given" if not spec.path else "no such file or folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to a table or a folder of them")
    files = _split_files(root, spec.format) if root.is_dir() else {"train": root}
    notes: list[str] = []
    tables = {name: _scan(path, _layout(path, spec), notes) for name, path in files.items()}
    names = _ordered({label for _, labels in tables.values() for label in labels})
    number = {name: i for i, name in enumerate(names)}
    splits: dict[str, Split] = {}
    for name, (pool, labels) in tables.items():
        targets = np.array([number[label] for label in labels], np.int64)
        splits[name] = Split(name, pool, np.arange(len(pool)), targets)
    require_classes(splits, names, str(root), spec.split)
    splits, note = complete(splits, spec.split, spec.split_seed, str(root))
    return Dataset(str(root), names, splits, [*notes, *note])


def _layout(path: Path, spec: recipe.Data) -> Layout:
    suffix = path.suffix.lower()
    matching_format = next((kind for kind, known in SUFFIXES.items() if suffix in known and kind != spec.format), "")
    if matching_format:
        raise DataError(
            f"is not a {spec.format} file", where=str(path), remedy=f'set data.format = "{matching_format}"'
        )
    return Layout(spec.format, dialect(path, spec.quoting), spec.text, spec.label)


def _split_files(root: Path, kind: str) -> dict[str, Path]:
    """The file of each split: its name is the split's, or ends with it (reviews_train.csv)."""
    files = [p for p in sorted(root.iterdir()) if p.suffix.lower() in SUFFIXES[kind] and not p.name.startswith(".")]
    file_of: dict[str, Path] = {}
    for path in files:
        name = split_named(re.split(r"[-_. ]", path.stem)[-1])
        if name in file_of:
            raise DataError(
                f"both {file_of[name].name} and {path.name} are there: which one is meant?",
                where=str(root),
                remedy="keep one file a split in this folder",
            )
        if name:
            file_of[name] = path
    if not file_of and len(files) == 1:
        return {"train": files[0]}
    if not file_of:
        raise DataError(
            f"holds no {kind} file for train, val or test",
            where=str(root),
            remedy=f"expected train{SUFFIXES[kind][0]} and so on, or give the path of one file",
        )
    return file_of


def _json_lines(lines: Lines) -> Iterator[Record]:
    while True:
        start = lines.end
        try:
            line = next(lines)
        except StopIteration:
            return
        yield Record([line] if line.strip() else [], lines.number, lines.number, start, lines.end)


def _scan(path: Path, layout: Layout, notes: list[str]) -> tuple[Records, list[str]]:
    """Every record of a file once: the usable ones and their labels; `notes` tells of the others."""
    labels: list[str] = []
    known: dict[str, str] = {}
    bad, used, first_problem = 0, 0, ""
    missing: list[str] = []
    try:
        with _file(path) as file:
            is_csv = layout.kind == "csv"
            entries = records(Lines(file), layout.dialect) if is_csv else _json_lines(Lines(file))
            pool = Records(str(path), layout, _header(next(entries, None), layout, path) if is_csv else {})
            oddities = Oddities(path, layout.dialect, pool.columns.get("", 0))

            for record in entries:
                if not record.fields and not record.problem:
                    continue
                try:
                    values = _columns(record, pool.columns) if is_csv else _object(record.fields[0])
                    if absent := _missing(values, layout):
                        missing.append(f"{path}:{record.first}: {absent}")
                        continue
                    _text(values, layout)
                    label = _label(values[layout.label])
                except ValueError as error:
                    bad += record.lines
                    first_problem = first_problem or f"{path}:{record.first}: {error}"
                    continue

                oddities.look(record)
                used += record.lines
                labels.append(known.setdefault(label, label))
                pool.starts.append(record.start)
                pool.sizes.append(record.end - record.start)
                pool.lines.append(record.first)
                if len(known) > MAX_CLASSES:
                    raise DataError(
                        f"the column {layout.label!r} has more than {MAX_CLASSES} values: these are no classes",
                        where=f"{path}:{record.first}",
                        remedy="set data.label to a column of class names or numbers",
                    )
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error

    if missing:
        notes.append(f"{len(missing)} record(s) with a missing value left out, the first: {missing[0]}")
    if bad > MAX_BAD * (bad + used) or not len(pool):
        problem = (
            f"{bad} of {bad + used} lines cannot be used, the first: {first_problem}" if bad else "holds no records"
        )
        raise DataError(
            problem, where=str(path), remedy="correct the file, or check data.format, data.text and data.label"
        )
    if bad:
        notes.append(f"{bad} line(s) left out, the first: {first_problem}")
    notes += oddities.notes()
    return pool, labels


def _header(record: Record | None, layout: Layout, path: Path) -> dict[str, int]:
    """Where the asked columns stand; under "" how many columns there are."""
    if record is None:
        raise DataError(
            "is empty", where=str(path), remedy="give a first line with the names of the columns, then a record a line"
        )
    if record.problem:
        raise DataError(
            f"the header cannot be read ({record.problem})", where=f"{path}:1", remedy="save the table as CSV in UTF-8"
        )
    names = [name.strip() for name in record.fields]
    if any(text.fault(name) for name in names if name):
        raise DataError("the header is not UTF-8 text", where=f"{path}:1", remedy="save the table as CSV in UTF-8")
    for column in (*layout.texts, layout.label):
        if names.count(column) != 1:
            problem = "twice the column" if column in names else "no column"
            hint = quoting_hint(column, names) or (nearest(column, names) if names else "")
            delimiter = layout.dialect.delimiter
            other_delimiter = next((c for c in ";\t|" if len(names) == 1 and c in names[0]), "")
            if other_delimiter:
                hint = f"the columns seem to be parted by {other_delimiter!r}, expected {delimiter!r} (a .tsv has tabs)"
            raise DataError(
                f"has {problem} {column!r}",
                where=f"{path}:1",
                remedy=f"the first line names the columns, data.text and data.label choose among them; {hint}",
            )
    return {"": len(names), **{column: names.index(column) for column in (*layout.texts, layout.label)}}


def _columns(record: Record, columns: dict[str, int]) -> dict[str, Any]:
    problem = record.fault(columns[""])
    if problem:
        raise ValueError(problem)
    return {name: record.fields[at] for name, at in columns.items() if name}


def _object(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except RecursionError as error:
        raise ValueError("broken JSON (nested too deeply)") from error
    except ValueError as error:
        raise ValueError(f"broken JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError("broken JSON (not an object)")
    return values


def _values(content: bytes, layout: Layout, columns: dict[str, int]) -> dict[str, Any]:
    if layout.kind == "jsonl":
        return _object(content.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
    return _columns(next(records(Lines(io.BytesIO(content)), layout.dialect)), columns)


def _missing(values: dict[str, Any], layout: Layout) -> str:
    """Which of the asked values is missing, as a table of pandas or JSON says it, or ""."""
    for name in (*layout.texts, layout.label):
        value = values.get(name, "")
        if value is None:
            return f"{name!r} is null"
        if isinstance(value, str) and value.strip() in MISSING:
            return f"{name!r} is {value.strip()!r}"
    return ""


def _text(values: dict[str, Any], layout: Layout) -> str:
    """The text columns joined by a space, each without blanks around it; `ValueError` where that is no text."""
    for name in (*layout.texts, layout.label):
        if name not in values:
            raise ValueError(f"has no {name!r}")
    parts = []
    for name in layout.texts:
        if not isinstance(values[name], str):
            raise ValueError(f"{name!r} is not text")
        parts.append(values[name].strip())
    words = " ".join(part for part in parts if part)
    problem = text.fault(words)
    if problem:
        raise ValueError(problem)
    return words


def _label(value: Any) -> str:
    """A class by its name as written ("01" and "1" are two); 1, 1.0 and "1" are the same class."""
    if not isinstance(value, (str, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("the label is neither a name nor a number")
    name = str(value).strip().lower() if isinstance(value, bool) else str(value).strip()
    if re.fullmatch(r"-?(0|[1-9]\d{0,14})\.0*", name):  # as programs write a whole number of a float column
        name = name.partition(".")[0]
    if not name:
        raise ValueError("the label is empty")
    if _CONTROL.search(name) or text.fault(name):
        raise ValueError("the label is not a line of plain text")
    return name


def _ordered(names: set[str]) -> tuple[str, ...]:
    if all(re.fullmatch(r"-?\d+", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
