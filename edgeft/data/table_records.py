"""The records of one table of texts and classes: delimited text, JSON lines, a JSON array, or Parquet.

Of text files only the place of each record is kept, so memory does not grow with the texts.
"""

from __future__ import annotations

import io
import math
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ..core import strict_json
from ..core.errors import DataError
from ..inputs import text
from . import columnar, left_out
from .delimited import READ_ERRORS, Lines, Oddities, Record, opened, records, unpacked_name
from .sniff import Table

#: more classes than this are values of a continuous column, or texts
MAX_CLASSES = 1000
#: how pandas and others write that a value is missing
MISSING = frozenset(
    "nan NaN -nan -NaN NA N/A n/a #N/A #NA <NA> null NULL None 1.#QNAN -1.#IND".split()  # noqa: SIM905
)
#: JSON objects that are looked at for what they hold
_LOOKED_AT = 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Layout:
    """How a file is read: its kind, the columns that are asked for, and what is known of a table of text.

    `places` says where the asked columns of such a table stand, and under "" how many there are.
    """

    kind: str
    texts: tuple[str, ...]
    label: str
    encoding: str = "utf-8"
    table: Table | None = None
    places: Mapping[str, int] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.texts, self.label)


@dataclass(frozen=True)
class Entry:
    """One record: the line it begins on (or its row), how many lines and bytes it takes up, its values or a problem."""

    line: int
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    lines: int = 1
    start: int = 0
    size: int = 0


@dataclass
class Places:
    """The usable records of one file by byte offset, length and line; a text is read when it is asked for."""

    path: str
    layout: Layout
    starts: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    lines: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, entry: Entry, words: str) -> None:
        self.starts.append(entry.start)
        self.sizes.append(entry.size)
        self.lines.append(entry.line)

    def raw(self, i: int) -> str:
        try:
            with opened(self.path) as file:
                file.seek(self.starts[i])
                content = file.read(self.sizes[i])
            words = _text(_values(content, self.layout), self.layout)
        except (*READ_ERRORS, ValueError, StopIteration) as error:
            raise DataError(f"the file changed while it was in use ({error})", where=self.source(i)) from error

        return words

    def source(self, i: int) -> str:
        return f"{self.path}:{self.lines[i]}"


@dataclass
class Texts:
    """The usable records of a file whose records cannot be read by themselves: their texts in memory."""

    path: str
    texts: list[str] = field(default_factory=list)
    lines: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, entry: Entry, words: str) -> None:
        self.texts.append(words)
        self.lines.append(entry.line)

    def raw(self, i: int) -> str:
        return self.texts[i]

    def source(self, i: int) -> str:
        return f"{self.path}:{self.lines[i]}"


def scan(path: Path, layout: Layout, notes: list[str]) -> tuple[Places | Texts, list[str]]:
    """Every record of a file once: the usable ones and their labels; the others are added to `notes`."""
    in_memory = layout.kind in ("json", "parquet") or unpacked_name(path) != path
    pool = Texts(str(path)) if in_memory else Places(str(path), layout)
    labels: list[str] = []
    known: dict[str, str] = {}
    bad, used, first_problem = 0, 0, ""
    missing: list[str] = []

    try:
        for entry in entries(path, layout, notes):
            where = f"{path}:{entry.line}"
            try:
                if entry.problem:
                    raise ValueError(entry.problem)
                if absent := _missing(entry.values, layout):
                    missing.append(f"{where}: {absent}")
                    continue
                words = _text(entry.values, layout)
                label = label_of(entry.values[layout.label])
            except ValueError as error:
                bad += entry.lines
                first_problem = first_problem or f"{where}: {error}"
                continue

            used += entry.lines
            labels.append(known.setdefault(label, label))
            pool.add(entry, words)
            if len(known) > MAX_CLASSES:
                raise DataError(
                    f"the column {layout.label!r} has more than {MAX_CLASSES} values: these are no classes",
                    where=where,
                    remedy="set data.label to a column of class names or numbers",
                )
    except READ_ERRORS as error:
        raise DataError(f"cannot be read ({getattr(error, 'strerror', '') or error})", where=str(path)) from error

    if missing:
        notes.append(f"{len(missing)} record(s) with a missing value left out, the first: {missing[0]}")

    where, remedy = str(path), "correct the file, or check data.format, data.text and data.label"
    if "not UTF-8" in first_problem:
        remedy = 'set data.encoding (such as "cp1252"); where it changes within the file, save the file as UTF-8'
    if not len(pool) and not bad:
        raise DataError("holds no records", where=where, remedy=remedy)

    left_out.judge([first_problem], used, "lines", notes, where=where, remedy=remedy, count=bad)

    return pool, labels


def first_names(path: Path, layout: Layout) -> list[str]:
    """The names of the columns of a file, or of what its first JSON objects hold."""
    if layout.table is not None:
        return list(layout.table.names)
    if layout.kind == "parquet":
        return columnar.parquet_columns(path)

    names = {name: None for entry in islice(entries(path, layout, []), _LOOKED_AT) for name in entry.values}
    return list(names)


def entries(path: Path, layout: Layout, notes: list[str]) -> Iterator[Entry]:
    """Every record that is not blank; at the end `notes` tells what is odd about a table."""
    if layout.kind == "json":
        for number, value in columnar.array_rows(path):
            yield Entry(number, value) if isinstance(value, dict) else Entry(number, problem="not an object")
    elif layout.kind == "parquet":
        for number, values in columnar.parquet_rows(path, layout.columns):
            yield Entry(number, values)
    elif layout.table is None:
        yield from _json_lines(path, layout)
    else:
        yield from _delimited(path, layout, layout.table, notes)


def _json_lines(path: Path, layout: Layout) -> Iterator[Entry]:
    with opened(path) as file:
        lines = Lines(file, layout.encoding)
        start = 0
        for line in lines:
            entry = Entry(lines.number, start=start, size=lines.end - start)
            start = lines.end
            if not line.strip():
                continue

            try:
                yield replace(entry, values=_object(line))
            except ValueError as error:
                yield replace(entry, problem=str(error))


def _delimited(path: Path, layout: Layout, table: Table, notes: list[str]) -> Iterator[Entry]:
    with opened(path) as file:
        oddities = Oddities(path, table.dialect, layout.places[""])
        for record in table.records(file):
            if not record.fields and not record.problem:
                continue

            entry = Entry(record.first, {}, "", record.lines, record.start, record.end - record.start)
            try:
                yield replace(entry, values=_columns(record, layout))
            except ValueError as error:
                yield replace(entry, problem=str(error))
                continue
            oddities.look(record)

        notes += oddities.notes()


def _columns(record: Record, layout: Layout) -> dict[str, str]:
    problem = record.fault(layout.places[""])
    if problem:
        raise ValueError(problem)
    return {name: record.fields[at] for name, at in layout.places.items() if name}


def _object(line: str) -> dict[str, Any]:
    try:
        values = strict_json.loads(line)
    except RecursionError as error:
        raise ValueError("broken JSON (nested too deeply)") from error
    except ValueError as error:
        raise ValueError(f"broken JSON ({error})") from error

    if not isinstance(values, dict):
        raise ValueError("broken JSON (not an object)")

    return values


def _values(content: bytes, layout: Layout) -> dict[str, Any]:
    lines = Lines(io.BytesIO(content), layout.encoding)
    if layout.table is None:
        return _object(next(lines))
    return _columns(next(records(lines, layout.table.dialect)), layout)


def _missing(values: Mapping[str, Any], layout: Layout) -> str:
    """Which of the asked values is missing, as a table of pandas or JSON says it, or ""."""
    for name in layout.columns:
        value = values.get(name, "")
        if value is None:
            return f"{name!r} is null"
        if isinstance(value, str) and value.strip() in MISSING:
            return f"{name!r} is {value.strip()!r}"

    return ""


def _text(values: Mapping[str, Any], layout: Layout) -> str:
    """The text columns joined by a space, each without blanks around it; `ValueError` where that is no text."""
    for name in layout.columns:
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


def label_of(value: Any) -> str:
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
