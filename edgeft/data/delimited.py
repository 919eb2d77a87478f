"""Delimited text (.csv, .tsv): the one reader of every format with tables; it accounts for each line of a file.

A comma-separated file may put a field in quotation marks (RFC 4180), a tab-separated one has no quoting: there a
quotation mark is a character like any other. `data.quoting` of the recipe says otherwise where a file differs.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

#: what `data.quoting` may be: by the suffix of the file, as RFC 4180 has it, or none
QUOTING = ("auto", "csv", "none")


@dataclass(frozen=True)
class Dialect:
    """How a line is divided into fields."""

    delimiter: str
    quoted: bool


def dialect(path: Path, quoting: str = "auto") -> Dialect:
    """The dialect of a file by its suffix (.tsv: tabs), with `quoting` as the recipe has it."""
    return parted("\t" if path.suffix.lower() == ".tsv" else ",", quoting)


def parted(delimiter: str, quoting: str = "auto") -> Dialect:
    """The dialect with this delimiter: by itself ("auto") only fields between commas may stand in quotation marks."""
    return Dialect(delimiter, delimiter == "," if quoting == "auto" else quoting == "csv")


class Lines:
    """The lines of a file as text, and where they stand: `end` is the offset behind the last line that was handed out.

    Bytes that are no UTF-8 become surrogates, which a text may not hold: the record is then refused, not the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.end, self.number = file, 0, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.file.readline()
        if not line:
            raise StopIteration
        bom = self.number == 0 and line.startswith(b"\xef\xbb\xbf")
        self.end += len(line)
        self.number += 1
        return line[3 if bom else 0 :].decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Record:
    """One record: its fields, its lines (from 1) and bytes in the file, and what is wrong with it ("" = nothing).

    A blank line is a record without fields. `inner` holds the lines after the first, of a record that has several.
    """

    fields: list[str]
    first: int
    last: int
    start: int
    end: int
    problem: str = ""
    inner: list[str] = field(default_factory=list)

    @property
    def lines(self) -> int:
        return self.last - self.first + 1

    @property
    def span(self) -> str:
        """Which lines a record of several takes up, as an addition to a message."""
        return f" (one record from line {self.first} to line {self.last})" if self.lines > 1 else ""

    def fault(self, width: int) -> str:
        """What is wrong with the record of a table with `width` columns, or ""."""
        if not self.problem and len(self.fields) == width:
            return ""
        counted = f"has {len(self.fields)} field{'s' * (len(self.fields) != 1)} where the header has {width}"
        return (self.problem or counted) + self.span

    def swallows(self, dialect: Dialect, width: int) -> int:
        """How many lines inside a quoted field would be whole records of `width` fields by themselves."""
        return sum(line.count(dialect.delimiter) == width - 1 for line in self.inner)


def records(lines: Lines, dialect: Dialect) -> Iterator[Record]:
    """Every record of a file; one that cannot be parsed has a `problem` and all the lines that it was read from."""
    recent: list[str] = []

    def remembered() -> Iterator[str]:
        for line in lines:
            recent.append(line)
            yield line

    reader = csv.reader(remembered(), delimiter=dialect.delimiter, strict=True) if dialect.quoted else None
    while True:
        start, first, problem = lines.end, lines.number + 1, ""
        recent.clear()
        try:
            fields = next(reader) if reader else _unquoted(next(lines), dialect)
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem = [], str(error)
        yield Record(fields, first, lines.number, start, lines.end, problem, recent[1:])


def _unquoted(line: str, dialect: Dialect) -> list[str]:
    content = line.rstrip("\r\n")
    return content.split(dialect.delimiter) if content else []


def quoting_hint(name: str, header: list[str]) -> str:
    """The setting that finds the column `name` where the header's names stand in quotation marks that were not read."""
    return 'its names stand in quotation marks: set data.quoting = "csv"' if f'"{name}"' in header else ""


class Oddities:
    """Counts what a dialect that does not fit leaves in a table; `notes` tells of it."""

    def __init__(self, path: Path, dialect: Dialect, width: int) -> None:
        self.path, self.dialect, self.width = path, dialect, width
        self.enclosed, self.enclosed_at = 0, 0
        self.swallowed: list[str] = []

    def look(self, record: Record) -> None:
        """Count a record that is used."""
        if record.inner and (inside := record.swallows(self.dialect, self.width)):
            self.swallowed.append(
                f"{self.path}:{record.first}: lines {record.first} to {record.last} are one record in quotation marks, "
                f"though {inside} of them would be records by themselves"
            )
        if not self.dialect.quoted and any(len(f) > 1 and f[0] == f[-1] == '"' for f in record.fields):
            self.enclosed += 1
            self.enclosed_at = self.enclosed_at or record.first

    def notes(self) -> list[str]:
        """What there is to tell of the whole table."""
        lines = self.swallowed[:3]
        if len(self.swallowed) > 3:
            lines.append(f"{self.path}: {len(self.swallowed) - 3} more records in quotation marks hold whole records")
        if self.enclosed:
            lines.append(
                f"{self.path}:{self.enclosed_at}: {self.enclosed} line(s) have a field in quotation marks, which are "
                'read as part of the text; data.quoting = "csv" removes them'
            )
        return lines
