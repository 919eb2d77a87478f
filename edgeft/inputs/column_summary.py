"""What the columns of a table mean, found from rows of text that come in blocks: nothing is held beyond one block but
the different values of a category.

A column is read as numbers until a block has a value that is none. Then it may hold numbers in another notation or
moments; where both are ruled out its values are counted. What is found out behind the first block takes another pass.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from . import moments, number_text

#: how tables write that there is no value
MISSING = frozenset(("", "nan", "na", "n/a", "null", "none", "#n/a", "<na>", "?", "-nan"))
_LONGEST = max(map(len, MISSING))
#: values of a category that get a column of their own, the most frequent ones
MOST_VALUES = 64
#: a constant column has no spread to divide by
_SMALLEST_STD = 1e-12


class Blocks(Protocol):
    """Rows of text, which can be read again and again."""

    def columns(self) -> Iterable[Sequence[Sequence[str]]]:
        """The rows in blocks: the texts of each column."""
        ...


class Spread:
    """Mean and standard deviation of values that come in parts (Chan, Golub and LeVeque 1983); of one part they are
    those of numpy."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, float, float, float]] = []

    def add(self, values: np.ndarray) -> None:
        """Further values, float64 (N,)."""
        if len(values):
            mean = values.mean()
            apart = values - mean
            self._parts.append((len(values), float(values.sum()), float(mean), float(np.multiply(apart, apart).sum())))

    def figures(self) -> tuple[float, float]:
        """(mean, standard deviation)."""
        count = sum(part[0] for part in self._parts)
        mean = math.fsum(part[1] for part in self._parts) / count
        squares = math.fsum(part[3] + part[0] * (part[2] - mean) ** 2 for part in self._parts)
        return mean, math.sqrt(squares / count)


@dataclass
class Summary:
    """What a column is: `column` as in the `preprocess` table, {} where no row has a value.

    `absent` rows of `rows` have no value, `first` is the first value, `different` is how many there are of a category,
    `example` a number in another notation and how it is read; `ambiguous`: dates fit both orders.
    """

    name: str
    column: dict[str, Any]
    rows: int
    absent: int
    first: str
    different: int = 0
    example: tuple[str, float] | None = None
    ambiguous: bool = False


def is_missing(value: str) -> bool:
    """Whether a field says that there is no value."""
    return value.strip().lower() in MISSING


def present(values: Sequence[str]) -> list[str]:
    """The values that are there, without blanks around them."""
    stripped = list(map(str.strip, values))
    absent = {value for value in set(stripped) if len(value) <= _LONGEST and value.lower() in MISSING}
    return [value for value in stripped if value not in absent] if absent else stripped


def plain_numbers(values: Sequence[str]) -> np.ndarray | None:
    """float64 of values that all are finite numbers as Python writes them, None where one is not."""
    try:
        numbers = np.array(list(map(float, values)), np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def summaries(
    names: Sequence[str], rows: Blocks, categories: Sequence[str] = (), decimal: str = "", dates: str = ""
) -> list[Summary]:
    """A summary of each column; see `columns.learned`."""
    readings = [_Reading(name, name in categories, decimal, dates) for name in names]
    waiting = list(enumerate(readings))

    while waiting:
        for _, reading in waiting:
            reading.begin()
        for block in rows.columns():
            for at, reading in waiting:
                reading.add(block[at])
        waiting = [(at, reading) for at, reading in waiting if not reading.ended()]

    return [reading.summary() for reading in readings]


class _Reading:
    """One column while it is read; `stage` is what it is taken for."""

    def __init__(self, name: str, category: bool, decimal: str, dates: str) -> None:
        self.name, self.decimal, self.dates = name, decimal, dates
        self.stage, self.following = ("count" if category else "plain"), ""
        self.written: dict[str, str] = {}
        self.example: tuple[str, float] | None = None
        self.scan, self.moments = number_text.Scan(), moments.Scan(dates)

    def begin(self) -> None:
        """A pass over all rows begins."""
        self.rows, self.absent, self.first = 0, 0, ""
        self.spread, self.counts, self.following = Spread(), Counter[str](), ""

    def add(self, values: Sequence[str]) -> None:
        """A block of rows."""
        if self.following:
            return None
        is_first = not self.rows
        self.rows += len(values)
        numbers = plain_numbers(values) if self.stage == "plain" else None  # without a gap, which is no finite number
        there = present(values) if numbers is None else values
        self.absent += len(values) - len(there)
        self.first = self.first or (there[0].strip() if there else "")

        if self.stage == "plain":
            numbers = plain_numbers(there) if numbers is None else numbers
            if numbers is not None:
                return self.spread.add(numbers)
            if self._goes_on("scan", is_first):
                return None

        if self.stage == "scan":
            self.scan.add(there)
            self.moments.add(there)
            if self.scan.possible or self.moments.possible or self._goes_on("count", is_first):
                return None

        if self.stage == "count":
            self.counts.update(there)
        else:
            self._add_written(there)
        return None

    def _add_written(self, values: Sequence[str]) -> None:
        numbers = [number_text.number(value, self.written) for value in values]
        self.spread.add(np.array(numbers, np.float64))
        if self.example is None:
            special = ((text, read) for text, read in zip(values, numbers) if number_text.number(text) is None)
            self.example = next(((text, read) for text, read in special if read is not None), None)

    def _goes_on(self, stage: str, is_first: bool) -> bool:
        """Whether the column is taken for something else in another pass; in the first block it is at once."""
        if is_first:
            self.stage = stage
        else:
            self.following = stage
        return not is_first

    def ended(self) -> bool:
        """Whether the column is known after this pass."""
        if self.stage == "scan" and not self.following:
            written = self.scan.notation(self.decimal)
            self.written = written or {}
            if written is None and self.moments.order() is None:
                self.following = "count"
            elif written is not None:
                self.following = "written"
        if self.following:
            self.stage = self.following
        return not self.following

    def summary(self) -> Summary:
        column: dict[str, Any] = {"name": self.name}
        summary = Summary(self.name, column, self.rows, self.absent, self.first)
        missing = self.absent > 0
        if self.rows == self.absent:
            summary.column = {}
        elif self.stage == "count":
            summary.different = len(self.counts)
            frequent = sorted(self.counts, key=lambda value: (-self.counts[value], value))[:MOST_VALUES]
            column |= {"kind": "category", "values": sorted(frequent)}
        elif self.stage == "scan":
            order, summary.ambiguous = self.moments.order() or ("", False)
            column |= {"kind": "moment", "order": order, "cycles": self.moments.cycles(order), "missing": missing}
        else:
            mean, std = self.spread.figures()
            column |= {"kind": "number", "mean": mean, "std": std if std > _SMALLEST_STD else 1.0, "missing": missing}
            if self.stage == "written":
                column["written"] = self.written
                summary.example = self.example

        return summary
