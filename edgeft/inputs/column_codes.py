"""Rows of a table in a few bytes each, from which the graph's inputs are made a batch at a time.

A number is its scaled value, a moment its places, a category the number of its value, a gap a flag: what
`columns.preprocess` makes of a row, without the zeros. `Codes.inputs` gives the same bits; a test holds both equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import DataError
from . import columns
from .column_summary import is_missing, plain_numbers

#: the category of a value that has no column of its own
_NONE = 255


class Codes:
    """How rows with the columns of a `preprocess` table are stored; raises `BundleError` as `columns.check`.

    `dtype` is that of a stored row: "numbers" float32, "codes" uint8 (categories and gaps), "odd" whether the row is to
    be made by `columns.preprocess`, which says what is wrong with it.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec, self.columns = dict(spec), columns.check(spec)
        self.width = columns.width(self.columns)
        self._numbers: list[tuple[int, int]] = []
        self._codes: list[tuple[int, int]] = []
        at = 0
        for column in self.columns:
            width = columns.width([column])
            if column["kind"] == "category":
                self._codes.append((at, width))
            else:
                gap = bool(column["missing"])
                self._numbers.append((at, width - gap))
                if gap:
                    self._codes.append((at + width - 1, 1))
            at += width

        count = sum(width for _, width in self._numbers)
        self.dtype = np.dtype(
            [("numbers", np.float32, (count,)), ("codes", np.uint8, (len(self._codes),)), ("odd", np.uint8)]
        )

    def encoded(self, texts: Mapping[str, Sequence[str]], count: int) -> np.ndarray:
        """`count` rows as they are stored, (N,) of `dtype`, from the texts of each column by its name."""
        rows = np.zeros(count, self.dtype)
        number, code = 0, 0
        for column in self.columns:
            values = list(map(str.strip, texts[column["name"]]))
            if column["kind"] == "category":
                rows["codes"][:, code] = _categories(values, column["values"])
                code += 1
                continue

            width = columns.width([column]) - bool(column["missing"])
            numbers, gaps, odd = _scaled(values, column, width)
            rows["numbers"][:, number : number + width] = numbers
            rows["odd"] |= odd
            number += width
            if column["missing"]:
                rows["codes"][:, code] = np.where(gaps, 0, _NONE)
                code += 1

        return rows

    def inputs(self, rows: np.ndarray, raw: Callable[[int], Any]) -> np.ndarray:
        """float32 (N, K) of stored rows (N,); `raw(i)` is the raw row `i` of them, for odd ones.

        Raises `DataError` as `columns.preprocess`.
        """
        made = np.zeros((len(rows), self.width), np.float32)
        number = 0
        for at, width in self._numbers:
            made[:, at : at + width] = rows["numbers"][:, number : number + width]
            number += width

        for k, (at, width) in enumerate(self._codes):
            codes = rows["codes"][:, k]
            known = np.flatnonzero(codes < width)
            made[known, at + codes[known].astype(np.int64)] = 1.0

        for i in np.flatnonzero(rows["odd"]):
            made[i] = columns.preprocess(raw(int(i)), self.spec)[str(self.spec["input"])][0]

        return made


def _categories(values: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """The number of each value, uint8."""
    number_of = {value: number for number, value in enumerate(known) if not is_missing(value)}
    return np.array([number_of.get(value, _NONE) for value in values], np.uint8)


def _scaled(values: list[str], column: Mapping[str, Any], width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(float32 (N, width), gaps bool (N,), rows that cannot be read bool (N,)) of a column of numbers or moments."""
    absent = {value for value in set(values) if is_missing(value)}
    gaps = np.array([value in absent for value in values], bool) if absent else np.zeros(len(values), bool)
    odd, numbers = np.zeros(len(values), bool), np.zeros((len(values), width), np.float32)
    there = [value for value in values if value not in absent] if absent else values

    plain = plain_numbers(there) if column["kind"] == "number" and "written" not in column else None
    if plain is not None:
        with np.errstate(over="ignore"):
            numbers[~gaps, 0] = ((plain - column["mean"]) / column["std"]).astype(np.float32)
        return numbers, gaps, odd

    for i in np.flatnonzero(~gaps).tolist():
        try:
            numbers[i] = columns.numbers_of(column, values[i])[:width]
        except DataError:
            odd[i] = True

    return numbers, gaps, odd
