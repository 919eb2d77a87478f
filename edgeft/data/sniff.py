"""What a table of text is where the recipe does not say: its encoding, delimiter, header and columns.

Every guess that differs from the usual (UTF-8, the delimiter of the file's suffix, a header) is reported with the key
of the recipe that states it.
"""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ..config import recipe
from ..core.errors import DataError, RecipeError
from .delimited import MARKS, Dialect, Lines, Record, opened, parted, records, unpacked_name

#: delimiters by the suffix of a file, the likeliest first
DELIMITERS = {".csv": (",", ";", "\t", "|", "::"), ".tsv": ("\t", ",", ";", "|", "::")}
_ANY = ("::", "\t", ",", ";", "|")
#: what a delimiter is called in messages
_CALLED = {"\t": "tabs"}
#: bytes that are searched for characters of another encoding than UTF-8
_SEARCHED = 1 << 26
#: bytes and records from which delimiter and header are guessed
_HEAD, _RECORDS = 1 << 16, 50
#: fewer lines that are not UTF-8 are broken lines, and no sign of another encoding
_FEWEST_INVALID = 3
WESTERN = "cp1252"


@dataclass(frozen=True)
class Table:
    """How the file at `path` is read: dialect, whether it has a header, and the names of its columns.

    The columns of a table without a header are called by their numbers, from "0". `first` is its first record, `notes`
    are what was guessed.
    """

    path: Path
    dialect: Dialect
    header: bool
    names: tuple[str, ...]
    first: tuple[str, ...]
    notes: tuple[str, ...]

    def records(self, file: BinaryIO) -> Iterator[Record]:
        """The records behind the header."""
        entries = records(Lines(file, self.dialect.encoding), self.dialect)
        return islice(entries, 1 if self.header else 0, None)

    def headerless_hint(self, example: str) -> str:
        """How to read the table where its first line is data."""
        return f'where its first line is data, set data.header = "no" and give columns by number from 0 ({example})'


def examine(
    path: Path, spec: recipe.Data, columns: Sequence[Sequence[str]], open_file: Callable[[], BinaryIO] | None = None
) -> Table:
    """The table at `path`, in which each of `columns` is looked for under any of its names.

    Raises `DataError` for an empty or unreadable file and for an encoding that cannot be guessed, `RecipeError` for an
    unknown `data.encoding`.
    """
    open_file = open_file or (lambda: opened(path))
    notes: list[str] = []
    encoding = encoding_of(path, spec, open_file, notes)

    with open_file() as file:
        head = file.read(_HEAD)

    if not head.strip():
        remedy = "give a first line with the names of the columns, then a record a line"
        raise DataError("is empty", where=str(path), remedy=remedy)

    suffix = unpacked_name(path).suffix.lower()
    usual = DELIMITERS.get(suffix, _ANY)
    delimiters = (spec.delimiter,) if spec.delimiter else usual

    def rows_of(delimiter: str) -> list[Record]:
        lines = Lines(io.BytesIO(head), encoding)
        entries = records(lines, parted(delimiter, spec.quoting, encoding))
        return [record for record in islice(entries, _RECORDS) if record.fields or record.problem]

    delimiter, hits = _delimiter(path, delimiters, rows_of, columns if spec.header != "no" else ())
    rows = rows_of(delimiter)
    first = rows[0] if rows else Record([], 1, 1, 0, 0)
    if first.problem and spec.header != "no":
        raise DataError(
            f"the header cannot be read ({first.problem})", where=f"{path}:1", remedy="save the table as CSV in UTF-8"
        )

    header = spec.header == "yes" or (spec.header == "auto" and (hits > 0 or _names_columns(rows, columns)))
    if not spec.delimiter and suffix in DELIMITERS and delimiter != usual[0]:
        called = _CALLED.get(delimiter, repr(delimiter))
        notes.append(f"{path}: columns are separated by {called}; data.delimiter states another delimiter")

    if spec.header == "auto" and not header:
        notes.append(f"{path}: read as a table without a header; data.header states whether there is one")

    stripped = tuple(name.strip() for name in first.fields)
    names = stripped if header else tuple(map(str, range(len(first.fields))))
    return Table(path, parted(delimiter, spec.quoting, encoding), header, names, stripped, tuple(notes))


def _delimiter(
    path: Path,
    delimiters: Sequence[str],
    rows_of: Callable[[str], list[Record]],
    columns: Sequence[Sequence[str]],
) -> tuple[str, int]:
    """The delimiter that finds most of the columns in the first line, else divides most lines alike; and how many."""
    best, most = delimiters[0], 0
    for delimiter in delimiters:
        rows = rows_of(delimiter)
        names = {name.strip() for name in rows[0].fields} if rows else set()
        hits = sum(any(name in names and not name.isdigit() for name in known) for known in columns)
        if hits > most:
            best, most = delimiter, hits

    if most or len(delimiters) == 1:
        return best, most

    scores = {}
    for delimiter in delimiters:
        widths = Counter(len(record.fields) for record in rows_of(delimiter) if not record.problem)
        width, count = widths.most_common(1)[0] if widths else (0, 0)
        scores[delimiter] = count if width > 1 else 0

    usual = delimiters[0]
    top = max(scores, key=lambda delimiter: (scores[delimiter], delimiter == usual))
    return (top if scores[top] > scores[usual] else usual), 0


def _names_columns(rows: list[Record], columns: Sequence[Sequence[str]]) -> bool:
    """Whether the first line of a table names its columns, where none of the names is one that was asked for.

    A line with a number in it does not. Where columns are asked for by number it does if some column has numbers
    everywhere but there.
    """
    if not columns or len(rows) < 2 or any(map(is_number, rows[0].fields)):
        return False
    if not any(name.isdigit() for known in columns for name in known):
        return True

    width = min(len(record.fields) for record in rows)
    return any(
        not is_number(rows[0].fields[at]) and all(is_number(record.fields[at]) for record in rows[1:])
        for at in range(width)
    )


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# --- encodings --------------------------------------------------------------------------------------------------------


def encoding_of(path: Path, spec: recipe.Data, open_file: Callable[[], BinaryIO], notes: list[str]) -> str:
    """The encoding of a file as `data.encoding` states it, else by its bytes; raises as `examine`."""
    with open_file() as file:
        head = file.read(_HEAD)
        marked = next((name for mark, name in MARKS if head.startswith(mark)), "")
        if spec.encoding:
            return stated_encoding(spec.encoding, marked)

        encoding = marked or _wide(head)
        if not encoding:
            file.seek(0)
            encoding = _by_lines(path, file, notes)

    if encoding.startswith("utf-16"):
        notes.append(f"{path}: read as UTF-16; data.encoding states another encoding")

    return encoding


def stated_encoding(name: str, marked: str = "") -> str:
    """The encoding that `data.encoding` names; raises `RecipeError` for one that cannot be read line by line."""
    try:
        known = codecs.lookup(name)
        "a".encode(known.name)
    except (LookupError, UnicodeError) as error:
        raise RecipeError(
            f"unknown encoding {name!r}", where="data.encoding", remedy="such as utf-8, latin-1, cp1252 or utf-16"
        ) from error

    if known.name == "utf-16":
        return marked if marked.startswith("utf-16") else "utf-16-le"
    if known.name in ("utf-32", "utf-32-le", "utf-32-be", "utf-7"):
        raise RecipeError(f"{known.name} is not read", where="data.encoding", remedy="save the file as UTF-8")

    return "utf-8" if known.name == "utf-8-sig" else known.name


def _wide(head: bytes) -> str:
    """UTF-16 without a byte order mark: one half of nearly every character of text is zero, the other half is not."""
    halves = {"utf-16-be": head[0::2], "utf-16-le": head[1::2]}
    zeros = {name: half.count(0) / max(1, len(half)) for name, half in halves.items()}
    name = max(zeros, key=lambda encoding: zeros[encoding])
    if zeros[name] < 0.4 or min(zeros.values()) > 0.05:
        return ""

    words = head[: len(head) // 2 * 2].decode(name, "replace")
    return "" if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", words) else name


def _by_lines(path: Path, file: BinaryIO, notes: list[str]) -> str:
    """UTF-8, or Windows-1252 (which Latin-1 is a part of) where hardly any line with other letters is UTF-8.

    Raises `DataError` where the bytes are neither.
    """
    valid, size = 0, 0
    invalid: list[tuple[int, bytes]] = []
    for number, line in enumerate(file, 1):
        size += len(line)
        if size > _SEARCHED:
            break
        if line.isascii():
            continue

        try:
            line.decode("utf-8")
            valid += 1
        except UnicodeDecodeError:
            invalid.append((number, line))

    if len(invalid) < _FEWEST_INVALID or len(invalid) <= 19 * valid:
        return "utf-8"

    number, line = invalid[0]
    if not _western([line for _, line in invalid]):
        raise DataError(
            f"is not UTF-8 (line {number} is the first of {len(invalid)}), and its encoding cannot be guessed",
            where=f"{path}:{number}",
            remedy='set data.encoding, for example "cp1251", "cp1250", "gb18030" or "shift_jis"',
        )

    shown = re.sub(r"\s+", " ", line.decode(WESTERN)).strip()[:60]
    notes.append(
        f"{path}:{number}: {len(invalid)} line(s) are not UTF-8: read as Windows-1252 (a superset of Latin-1), for "
        f"example {shown!r}; data.encoding states another encoding"
    )

    return WESTERN


def _western(lines: list[bytes]) -> bool:
    """Whether these bytes may be Windows-1252: all are characters of it, and few stand three or more in a row.

    Of alphabets without Latin letters nearly all do.
    """
    text = b"\n".join(lines)
    try:
        text.decode(WESTERN)
    except UnicodeDecodeError:
        return False

    high = sum(byte > 127 for byte in text)
    in_runs = sum(len(run) for run in re.findall(rb"[\x80-\xff]{3,}", text))
    return in_runs <= 0.5 * high
