"""Delimited text (.csv, .tsv, .dat): the one reader of every format with tables; it accounts for each line of a file.

A comma-separated file may put a field in quotation marks (RFC 4180), a tab-separated one has no quoting: there a
quotation mark is a character like any other. `data.quoting` of the recipe says otherwise where a file differs.
`sniff.py` finds the encoding, the delimiter and the header where the recipe does not state them.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

#: what `data.quoting` may be: by the delimiter of the file, as RFC 4180 has it, or none
QUOTING = ("auto", "csv", "none")
#: what `data.header` may be: found out, or stated
HEADER = ("auto", "yes", "no")
#: byte order marks and the encodings that they announce
MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
#: how a line of bytes ends where a character has two of them
_WIDE_ENDS = {"utf-16-le": b"\n\x00", "utf-16-be": b"\x00\n"}
#: what reading a file may raise, a damaged .gz included
READ_ERRORS = (OSError, EOFError, zlib.error)
#: stands for a line that cannot be decoded: no text may hold it, so the record is refused and not the file
UNDECODABLE = "\udcff"


@dataclass(frozen=True)
class Dialect:
    """How a file is divided into lines of text and a line into fields."""

    delimiter: str
    quoted: bool
    encoding: str = "utf-8"


def parted(delimiter: str, quoting: str = "auto", encoding: str = "utf-8") -> Dialect:
    """The dialect with this delimiter: by itself ("auto") only a tab or several characters rule out quotation marks."""
    quoted = delimiter in (",", ";", "|") if quoting == "auto" else quoting == "csv"
    return Dialect(delimiter, quoted and len(delimiter) == 1, encoding)


def opened(path: Path | str) -> BinaryIO:
    """A file to read bytes from, unpacked where its name ends with .gz."""
    path = Path(path)
    return cast(BinaryIO, gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def unpacked_name(path: Path) -> Path:
    """The path without .gz."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


class Lines:
    """The lines of a file as text, and where they stand: `end` is the offset behind the last line that was handed out.

    Bytes that the encoding does not know become surrogates, which a text may not hold: the record is then refused, not
    the file.
    """

    def __init__(self, file: BinaryIO, encoding: str = "utf-8") -> None:
        self.file, self.encoding, self.end, self.number = file, encoding, 0, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._wide() if self.encoding in _WIDE_ENDS else self.file.readline()
        if not line:
            raise StopIteration

        mark = next((mark for mark, name in MARKS if name == self.encoding and line.startswith(mark)), b"")
        start = len(mark) if self.number == 0 else 0
        self.end += len(line)
        self.number += 1

        try:
            return line[start:].decode(self.encoding, "surrogateescape")
        except UnicodeError:
            return UNDECODABLE + "\n"

    def _wide(self) -> bytes:
        """A line of two-byte characters: a line feed among their halves ends none."""
        line, ending = bytearray(), _WIDE_ENDS[self.encoding]
        while part := self.file.readline():
            line += part
            if len(line) % 2:  # the line feed is the first half of a character
                line += self.file.read(1)
            if line.endswith(ending) and len(line) % 2 == 0:
                break

        return bytes(line)


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
            fields = next(reader) if reader else fields_of(next(lines), dialect)
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem = [], str(error)

        yield Record(fields, first, lines.number, start, lines.end, problem, recent[1:])


def plain_records(file: BinaryIO, dialect: Dialect) -> Iterator[tuple[int, int, list[str], str]]:
    """(first line, last line, fields, what is wrong) of every record: `records` without offsets, many times as fast."""
    lines = _text_lines(file) if dialect.encoding == "utf-8" else Lines(file, dialect.encoding)
    if not dialect.quoted:
        for number, line in enumerate(lines, 1):
            yield number, number, fields_of(line, dialect), ""
        return

    reader, last = csv.reader(lines, delimiter=dialect.delimiter, strict=True), 0
    while True:
        first, problem = last + 1, ""
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem = [], str(error)
        last = reader.line_num
        yield first, last, fields, problem


def _text_lines(file: BinaryIO) -> Iterator[str]:
    """The lines of UTF-8 as `Lines` has them."""
    text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="\n")
    try:
        for line in text:
            yield line.removeprefix("\ufeff")
            break
        yield from text
    finally:
        with contextlib.suppress(ValueError):  # the file may be closed by now
            text.detach()


def fields_of(line: str, dialect: Dialect) -> list[str]:
    """The fields of a record of one line; raises `csv.Error` where its quotation marks are not closed."""
    content = line.rstrip("\r\n")
    if dialect.quoted and '"' in content:
        return next(csv.reader([content], delimiter=dialect.delimiter, strict=True))
    return content.split(dialect.delimiter) if content else []


def quoting_hint(name: str, header: list[str]) -> str:
    """The setting that finds the column `name` where the header's names stand in quotation marks that were not read."""
    return 'its names stand in quotation marks: set data.quoting = "csv"' if f'"{name}"' in header else ""


class Oddities:
    """Counts what a dialect that does not fit leaves in a table; `notes` reports it."""

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
