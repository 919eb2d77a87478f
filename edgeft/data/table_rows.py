"""The rows of a table of numbers and categories: packed text in memory, or in files below the user's cache where the
table is large (`table_cache.py`), so that memory does not grow with its rows.

A row with another number of fields, and one without a target, is left out and counted; more than 5 % of them stop the
run.
"""

from __future__ import annotations

import functools
import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np

from ..config import recipe
from ..core.errors import DataError, nearest
from ..inputs import columns, number_text
from ..inputs.column_codes import Codes
from ..inputs.column_summary import is_missing, plain_numbers
from . import left_out, table_cache
from .delimited import READ_ERRORS, Record, opened, plain_records
from .packed import Fields, Texts, Writer
from .sniff import Table as Layout
from .sniff import examine
from .stored import BLOCK, InFile, InMemory, Numbers


@dataclass(frozen=True)
class Rows:
    """The input columns of every row as text, and the line of each; `folder` holds them where they are in files."""

    path: str
    names: tuple[str, ...]
    fields: Fields
    lines: Numbers
    folder: Path | None = None
    _stored: dict[str, tuple[Any, Codes, Numbers]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.fields)

    def raw(self, i: int) -> dict[str, np.ndarray]:
        return columns.row(self.names, self.fields[i])

    def source(self, i: int) -> str:
        return f"{self.path}:{self.lines.block(i, i + 1)[0]}"

    def sources(self, indices: np.ndarray) -> list[str]:
        """`source` of many rows."""
        return [f"{self.path}:{line}" for line in self.lines.take(indices).tolist()]

    def keys(self, indices: np.ndarray) -> list[bytes]:
        """What is equal for rows of equal content and columns, quicker than a digest."""
        return self.fields.keys(indices)

    def inputs(self, indices: np.ndarray, spec: Mapping[str, Any]) -> np.ndarray:
        """float32 (N, K): what `columns.preprocess` makes of the rows at `indices` int64 (N,); raises as it does.

        The first call stores every row in a few bytes (`column_codes.py`), where the texts are.
        """
        codes, stored = self._coded(spec)
        return codes.inputs(stored.take(indices), lambda i: self.raw(int(indices[i])))

    def _coded(self, spec: Mapping[str, Any]) -> tuple[Codes, Numbers]:
        """How rows are stored for `spec`, and the stored rows."""
        last = self._stored.get("")
        if last is not None and last[0] is spec:
            return last[1:]

        key = hashlib.sha256(json.dumps([spec["input"], spec["columns"]], sort_keys=True).encode()).hexdigest()[:32]
        if key not in self._stored:
            codes = Codes(spec)
            for name in (column["name"] for column in codes.columns):
                if name not in self.names:
                    raise DataError(f"has no column {name!r}", where="row", remedy=nearest(name, list(self.names)))
            self._stored[key] = spec, codes, self._kept(codes, f"codes-{key}")

        self._stored[""] = spec, *self._stored[key][1:]
        return self._stored[key][1:]

    def _kept(self, codes: Codes, name: str) -> Numbers:
        if self.folder is None:
            return InMemory(np.frombuffer(b"".join(part.tobytes() for part in self._encoded(codes)), codes.dtype))
        return InFile(table_cache.part(self.folder, name, lambda: self._encoded(codes)), codes.dtype)

    def _encoded(self, codes: Codes) -> Iterator[np.ndarray]:
        for block in self.fields.columns():
            yield codes.encoded(dict(zip(self.names, block)), len(block[0]))


@dataclass(frozen=True)
class Table:
    """One file: its rows, the text of the target column, and the decimal mark where that is known."""

    rows: Rows
    targets: Texts
    decimal: str = ""

    @functools.cached_property
    def different(self) -> tuple[list[str], np.ndarray]:
        """(each target once, int32 (N,) which of them a row has)."""
        number_of: dict[str, int] = {}
        which, start = np.empty(len(self.targets), np.int32), 0
        for block in self.targets.blocks():
            for text in dict.fromkeys(block):
                number_of.setdefault(text, len(number_of))
            which[start : start + len(block)] = list(map(number_of.__getitem__, block))
            start += len(block)
        return list(number_of), which

    def each(self, value: Callable[[str], Any], dtype: type) -> np.ndarray:
        """`value` of each target, (N,) of `dtype`."""
        texts, which = self.different
        values: np.ndarray = np.array([value(text) for text in texts], dtype)[which]
        return values

    @functools.cached_property
    def notation(self) -> dict[str, str] | None:
        """How all targets are written that are not plain numbers, None where they are, or are no numbers."""
        if all(plain_numbers(block) is not None for block in self.targets.blocks()):
            return None
        scan = number_text.Scan()
        for block in self.targets.blocks():
            scan.add(block)
        return scan.notation(self.decimal)


def read(path: Path, spec: recipe.Data, ignore: Sequence[str], decimal: str, notes: list[str]) -> Table:
    """Every row of a file; what cannot be used is counted in `notes`.

    Raises `DataError` naming file and line or column, `SystemFailure` where there is no room for a large one.
    """
    try:
        layout = examine(path, spec, [(spec.label,)])
        notes += layout.notes
        names = list(layout.names)
        at, target = _places(names, spec.label, ignore, path)
        if not names[0]:
            notes.append(f"{path}: the first column has no name, as pandas writes the numbers of rows: it is no input")

        if table_cache.is_large(path):
            form = [*map(str, (layout.dialect, layout.header)), len(names), at, target]
            folder = table_cache.folder(path, form, lambda folder: _parsed(layout, at, target, spec.label, folder)[1])
            bad = table_cache.facts(folder)
            lines: Numbers = InFile(folder / "lines", np.int64)
            fields, targets = Fields.within(folder, "in"), Texts(Fields.within(folder, "out"))
        else:
            folder = None
            (fields, targets, lines), bad = _parsed(layout, at, target, spec.label)
    except READ_ERRORS as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from error

    where, remedy = str(path), "correct the file, or check data.label and data.quoting"
    first = f"{path}:{bad['line']}: {bad['problem']}"
    left_out.judge([first], len(fields), "rows", notes, where=where, remedy=remedy, count=bad["count"])
    decimal = decimal or ("," if layout.dialect.delimiter == ";" else "")
    return Table(Rows(str(path), tuple(names[i] for i in at), fields, lines, folder), targets, decimal)


class _Parser:
    """Writes the rows of a file a block at a time; `bad` counts those that cannot be used and tells of the first."""

    def __init__(self, at: Sequence[int], target: int, label: str, folder: Path | None) -> None:
        self.at, self.target, self.label = at, target, label
        self.fields, self.targets = Writer(folder, "in"), Writer(folder, "out")
        self.lines = array("q")
        self.file = None if folder is None else (folder / "lines").open("wb")
        self.bad: dict[str, Any] = {"count": 0, "line": 0, "problem": ""}

    def refuse(self, line: int, problem: str) -> None:
        if not self.bad["count"] or line < self.bad["line"]:
            self.bad |= {"line": line, "problem": problem}
        self.bad["count"] += 1

    def write(self, rows: list[list[str]], lines: list[int]) -> None:
        """Rows with the right number of fields, and the line of each."""
        if not rows:
            return
        targets = [row[self.target].strip() for row in rows]
        absent = {text for text in set(targets) if is_missing(text)}
        if absent:
            whole = [text not in absent for text in targets]
            for line in (line for line, is_whole in zip(lines, whole) if not is_whole):
                self.refuse(line, f"{self.label!r} has no value")
            rows, lines = list(compress(rows, whole)), list(compress(lines, whole))
            targets = list(compress(targets, whole))

        texts = list(zip(*rows)) or [()] * (max(*self.at, self.target) + 1)
        self.fields.append(list(zip(*[map(str.strip, texts[i]) for i in self.at])))
        self.targets.append([(text,) for text in targets])
        block = array("q", lines)
        if self.file is None:
            self.lines += block
        else:
            self.file.write(block)

    def close(self) -> None:
        for out in (self.fields, self.targets, self.file):
            if out is not None:
                out.close()


def _parsed(
    layout: Layout, at: Sequence[int], target: int, label: str, folder: Path | None = None
) -> tuple[tuple[Fields, Texts, Numbers], dict[str, Any]]:
    """(rows, targets, lines), and `_Parser.bad`, of a file; in `folder` where that is given."""
    parser = _Parser(at, target, label, folder)
    width = len(layout.names)
    rows: list[list[str]] = []
    lines: list[int] = []

    try:
        with opened(layout.path) as file:
            records = plain_records(file, layout.dialect)
            for first, last, fields, problem in islice(records, 1 if layout.header else 0, None):
                if len(fields) == width and not problem:
                    rows.append(fields)
                    lines.append(first)
                elif fields or problem:
                    parser.refuse(first, Record(fields, first, last, 0, 0, problem).fault(width))
                if len(rows) == BLOCK:
                    parser.write(rows, lines)
                    rows, lines = [], []
        parser.write(rows, lines)
    finally:
        parser.close()

    stored: Numbers = InFile(folder / "lines", np.int64) if folder else InMemory(np.frombuffer(parser.lines, np.int64))
    return (parser.fields.fields(), Texts(parser.targets.fields()), stored), parser.bad


def _places(names: list[str], label: str, ignore: Sequence[str], path: Path) -> tuple[list[int], int]:
    """Where the inputs and the target stand; raises `DataError` naming the column."""
    where = f"{path}:1"
    if len(set(names)) < len(names) or not all(names[1:]):
        raise DataError("the first line must name every column, each by a name of its own", where=where)

    for name, key in [(label, "data.label"), *((name, "data.ignore") for name in ignore)]:
        if name not in names:
            raise DataError(f"has no column {name!r}", where=where, remedy=f"set {key}; {nearest(name, names)}")

    at = [i for i, name in enumerate(names) if name and name != label and name not in ignore]
    if not at:
        raise DataError("has no column beside the target", where=where)

    return at, names.index(label)
