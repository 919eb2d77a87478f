"""Texts and rows of texts in few bytes: what a table of millions of rows holds, where Python's objects take tenfold."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import overload

import numpy as np

#: between the fields of a row; no decoder gives this half of a surrogate pair, so that no field holds it
_BETWEEN = "\ud800"


class Texts(Sequence[str]):
    """Texts that are appended once and read often: UTF-8 one behind the other, and where each ends."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._ends = array("q", [0])

    def append(self, text: str) -> None:
        self._content += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._content))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[str]: ...
    def __getitem__(self, i: int | slice) -> str | Sequence[str]:
        if isinstance(i, slice):
            return [self[at] for at in range(*i.indices(len(self)))]
        at = range(len(self))[i]  # negative ones, and IndexError
        return self._content[self._ends[at] : self._ends[at + 1]].decode("utf-8", "surrogatepass")


class Fields(Sequence[tuple[str, ...]]):
    """Rows of texts, of one or more fields each."""

    def __init__(self) -> None:
        self._rows = Texts()

    def append(self, fields: Sequence[str]) -> None:
        self._rows.append(_BETWEEN.join(fields))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, i: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[tuple[str, ...]]: ...
    def __getitem__(self, i: int | slice) -> tuple[str, ...] | Sequence[tuple[str, ...]]:
        if isinstance(i, slice):
            return [self[at] for at in range(*i.indices(len(self)))]
        return tuple(self._rows[i].split(_BETWEEN))


class Chosen(Sequence[Sequence[str]]):
    """Some rows of others, by number, and of these the columns `at` (None: all): nothing is copied."""

    def __init__(self, rows: Sequence[Sequence[str]], indices: np.ndarray, at: Sequence[int] | None = None) -> None:
        self._rows, self._indices, self._at = rows, indices, at

    def columns(self, at: Sequence[int]) -> Chosen:
        return Chosen(self._rows, self._indices, at)

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, i: int) -> Sequence[str]: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Sequence[str]]: ...
    def __getitem__(self, i: int | slice) -> Sequence[str] | Sequence[Sequence[str]]:
        if isinstance(i, slice):
            return [self[number] for number in range(*i.indices(len(self)))]
        fields = self._rows[int(self._indices[i])]
        return fields if self._at is None else [fields[column] for column in self._at]
