"""Texts and rows of texts in few bytes: what a table of millions of rows holds, where Python's objects take tenfold.

They are written a block at a time to memory or to files (`Writer`), and read a row or a block of columns at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np

from .stored import BLOCK, InFile, InMemory, Numbers

#: behind each field of a row but the last, and behind that: bytes that UTF-8 never has, and characters of Latin-1
_FIELD, _ROW = b"\xff", b"\xfe"
_FIELD_TEXT, _ROW_TEXT = "\xff", "\xfe"
_CONTENT, _ENDS = "rows", "ends"
#: a range of rows is read whole where it holds at most so many times what is asked of it
_DENSE = 16


def _encoded(rows: Sequence[Sequence[str]]) -> tuple[bytes, list[int]]:
    """The bytes of rows of as many fields each, and how many each takes."""
    joined = [_FIELD_TEXT.join(fields) + _ROW_TEXT for fields in rows]
    text = "".join(joined)
    separators = sum(map(len, rows))
    if len(text.encode("utf-8", "surrogatepass")) == len(text) + separators:  # the fields are ASCII
        return text.encode("latin-1"), list(map(len, joined))

    parts = [_FIELD.join([field.encode("utf-8", "surrogatepass") for field in fields]) + _ROW for fields in rows]
    return b"".join(parts), list(map(len, parts))


def _columns(content: bytes) -> list[Sequence[str]]:
    """The fields of rows, column by column."""
    width = content.count(_FIELD, 0, content.find(_ROW) + 1) + 1
    if content.translate(None, _FIELD + _ROW).isascii():
        fields = content.decode("latin-1").replace(_ROW_TEXT, _FIELD_TEXT).split(_FIELD_TEXT)
    else:
        fields = [part.decode("utf-8", "surrogatepass") for part in content.replace(_ROW, _FIELD).split(_FIELD)]
    return [fields[at:-1:width] for at in range(width)]


def _fields(row: bytes) -> tuple[str, ...]:
    return tuple(field.decode("utf-8", "surrogatepass") for field in row.split(_FIELD))


class Fields(Sequence[tuple[str, ...]]):
    """Rows of texts, of one or more fields each: `content` uint8, row behind row, and `ends` int64 of each."""

    def __init__(self, content: Numbers, ends: Numbers) -> None:
        self._content, self._ends = content, ends

    @classmethod
    def of(cls, rows: Sequence[Sequence[str]]) -> Fields:
        """Rows in memory."""
        writer = Writer()
        for start in range(0, len(rows), BLOCK):
            writer.append(rows[start : start + BLOCK])
        return writer.fields()

    @classmethod
    def within(cls, folder: Path, name: str = "") -> Fields:
        """Rows that a `Writer` left in a folder."""
        return cls(InFile(folder / f"{name}{_CONTENT}", np.uint8), InFile(folder / f"{name}{_ENDS}", np.int64))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, i: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[tuple[str, ...]]: ...
    def __getitem__(self, i: int | slice) -> tuple[str, ...] | Sequence[tuple[str, ...]]:
        if isinstance(i, slice):
            return [self[at] for at in range(*i.indices(len(self)))]
        at = range(len(self))[i]  # negative ones, and IndexError
        return _fields(self.content(at, at + 1)[:-1])

    def content(self, start: int, stop: int) -> bytes:
        """The bytes of rows `start:stop`, each with its end; rows of the same fields have the same bytes."""
        if stop <= start:
            return b""
        first = int(self._ends.block(start - 1, start)[0]) if start else 0
        last = int(self._ends.block(stop - 1, stop)[0])
        return self._content.block(first, last).tobytes()

    def keys(self, indices: np.ndarray) -> list[bytes]:
        """The bytes of the rows at `indices`, equal for equal fields; quick where these are a large part of a range."""
        if not len(indices):
            return []
        first, last = int(indices.min()), int(indices.max())
        if last - first >= _DENSE * len(indices):
            return [self.content(i, i + 1)[:-1] for i in indices.tolist()]
        rows = self.content(first, last + 1).split(_ROW)
        return [rows[i] for i in (indices - first).tolist()]

    def columns(self) -> Iterator[list[Sequence[str]]]:
        """All rows in blocks: the texts of each column."""
        for start in range(0, len(self), BLOCK):
            yield _columns(self.content(start, min(start + BLOCK, len(self))))

    def take(self, indices: np.ndarray) -> list[Sequence[str]]:
        """The rows at `indices`, column by column."""
        return _columns(b"".join([key + _ROW for key in self.keys(indices)])) if len(indices) else []


class Writer:
    """Takes rows a block at a time, in memory or, with `folder`, in two files there that begin with `name`."""

    def __init__(self, folder: Path | None = None, name: str = "") -> None:
        self._folder, self._name, self._size = folder, name, 0
        self._content, self._ends = bytearray(), bytearray()
        self._files: tuple[BinaryIO, BinaryIO] | None = None
        if folder is not None:
            self._files = ((folder / f"{name}{_CONTENT}").open("wb"), (folder / f"{name}{_ENDS}").open("wb"))

    def append(self, rows: Sequence[Sequence[str]]) -> None:
        content, sizes = _encoded(rows)
        ends = (np.cumsum(sizes, dtype=np.int64) + self._size).tobytes()
        self._size += len(content)
        if self._files is None:
            self._content += content
            self._ends += ends
        else:
            self._files[0].write(content)
            self._files[1].write(ends)

    def fields(self) -> Fields:
        """What was written; nothing can be added afterwards."""
        if self._files is not None:
            self.close()
            assert self._folder is not None
            return Fields.within(self._folder, self._name)
        return Fields(InMemory(np.frombuffer(self._content, np.uint8)), InMemory(np.frombuffer(self._ends, np.int64)))

    def close(self) -> None:
        for file in self._files or ():
            file.close()


class Texts(Sequence[str]):
    """Texts: rows of one field."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Texts in memory."""
        return cls(Fields.of([(text,) for text in texts]))

    def __len__(self) -> int:
        return len(self._fields)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[str]: ...
    def __getitem__(self, i: int | slice) -> str | Sequence[str]:
        if isinstance(i, slice):
            return [row[0] for row in self._fields[i]]
        return self._fields[i][0]

    def blocks(self) -> Iterator[Sequence[str]]:
        """All texts, a block at a time."""
        for (texts,) in self._fields.columns():
            yield texts


class Chosen:
    """Some rows of others, by number, in blocks: the texts of each column. It can be read again and again."""

    def __init__(self, rows: Fields, indices: np.ndarray) -> None:
        self._rows, self._indices = rows, indices

    def __len__(self) -> int:
        return len(self._indices)

    def columns(self) -> Iterator[list[Sequence[str]]]:
        """The rows in blocks of `BLOCK`."""
        for start in range(0, len(self._indices), BLOCK):
            yield self._rows.take(np.asarray(self._indices[start : start + BLOCK]))
