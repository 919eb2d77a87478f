"""Dates and times of day in a column of a table, and the numbers that a row gets of them: places on cycles.

A moment itself lies after all of training once a model is in use, so it is no input; what recurs is. Each cycle gives
a sine and a cosine, so that 23:59 is near 00:00: the hour of a day, the day of a week, the day of a year.

The same reading is in the bundle's runner (`run_columns.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MOMENT = re.compile(
    r"(?:(\d{4}|\d{1,2}|[A-Za-z]{3,9})([-/.]| )(\d{1,2}|[A-Za-z]{3,9})(?:[-/.]|,? )(\d{4}|\d{1,2}))?(?:(?:^|T|,? )"
    r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?(?: ?([AaPp])[Mm])?(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?)?"
)
#: cycles, and the days that training rows have to span at least, so that one tells more than the moment
CYCLES = {"day": 2, "week": 14, "year": 366}
ORDERS = ("day-first", "month-first")


def read(text: str, order: str) -> tuple[int | None, int | None] | None:
    """(the proleptic number of the day, the second of the day) of a field, None for what it does not say.

    None where the field holds neither. `order` says which of two numbers in front of the year is the day.
    """
    found = _MOMENT.fullmatch(text.strip())
    if found is None or not (found[1] or found[5]):
        return None

    day = None
    if found[1]:
        parts = [found[1], found[3], found[4]]
        year_first = len(parts[0]) == 4 and parts[0].isdigit()
        month_first = order == "month-first" if parts[1].isdigit() else False
        if year_first:
            year, month, number = parts
        elif month_first or not parts[0].isdigit():
            month, number, year = parts
        else:
            number, month, year = parts

        day = _day(year, month, number)
        if day is None:
            return None

    if not found[5]:
        return day, None

    hour, minute, second = int(found[5]), int(found[6]), int(found[7] or 0)
    if found[8]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (found[8] in "Pp")

    return (day, hour * 3600 + minute * 60 + second) if hour < 24 and minute < 60 and second < 61 else None


def _day(year: str, month: str, number: str) -> int | None:
    """The proleptic number of a day; months may be words, and years of two digits are those from 1970 to 2069."""
    if not (year.isdigit() and number.isdigit()):
        return None
    if not month.isdigit():
        if month[:3].lower() not in _MONTHS:
            return None
        month = str(_MONTHS.index(month[:3].lower()) + 1)

    whole = int(year) if len(year) == 4 else int(year) + (2000 if int(year) < 70 else 1900)
    try:
        return date(whole, int(month), int(number)).toordinal()
    except ValueError:
        return None


def order_of(values: Sequence[str], stated: str = "") -> tuple[str, bool] | None:
    """(the order in which all `values` are moments, whether the other one fits as well), None where none does.

    Without `stated` days come first where points divide a date, else months do, as far as every value allows that.
    """
    scan = Scan(stated)
    scan.add(values)
    return scan.order()


class Scan:
    """Finds the order of dates that come a part at a time, and the cycles that they span."""

    def __init__(self, stated: str = "") -> None:
        self._stated, self._first, self._differ = stated, "", False
        self._spans = {order: _Span() for order in ((stated,) if stated else ORDERS)}

    @property
    def possible(self) -> bool:
        """Whether an order is left in which all values are moments."""
        return bool(self._spans)

    def add(self, values: Sequence[str]) -> None:
        """Look at further values."""
        if not self._spans or not values:
            return
        self._first = self._first or values[0]
        for value in values:
            moments = {order: read(value, order) for order in self._spans}
            for order in [order for order, moment in moments.items() if not moment]:
                del self._spans[order]
            if not self._spans:
                return
            for order, span in self._spans.items():
                span.add(*moments[order])  # type: ignore[misc]
            self._differ = self._differ or len({moments[order] for order in self._spans}) > 1

    def order(self) -> tuple[str, bool] | None:
        """As the function `order_of`, of all values that were looked at."""
        if not self._spans or not self._first:
            return None
        if self._stated:
            return self._stated, False
        usual = ORDERS if "." in self._first else ORDERS[::-1]
        return next(order for order in usual if order in self._spans), len(self._spans) > 1 and self._differ

    def cycles(self, order: str) -> list[str]:
        """The cycles on which the values lie at different places and that they span."""
        return self._spans[order].cycles()


class _Span:
    """The days that moments span, and whether their times of day differ."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._last = 0
        self._seconds: set[int | None] = set()

    def add(self, day: int | None, second: int | None) -> None:
        if day is not None:
            self._first = day if self._first is None else min(self._first, day)
            self._last = max(self._last, day)
        if len(self._seconds) < 2:
            self._seconds.add(second)

    def cycles(self) -> list[str]:
        span = math.inf if self._first is None else self._last - self._first + 1
        cycles = ["day"] if len(self._seconds) > 1 and span >= CYCLES["day"] else []
        if self._first is None:
            return cycles
        return cycles + [name for name in ("week", "year") if span >= CYCLES[name]]


def places(moment: tuple[int | None, int | None], cycles: Sequence[str]) -> list[float]:
    """Sine and cosine of a moment on each cycle; zeros where it does not say (a date without a time of day)."""
    day, second = moment
    numbers: list[float] = []
    for cycle in cycles:
        if (second if cycle == "day" else day) is None:
            numbers += [0.0, 0.0]
            continue
        angle = 2.0 * math.pi * _share(cycle, day or 1, second or 0)
        numbers += [math.sin(angle), math.cos(angle)]

    return numbers


def _share(cycle: str, day: int, second: int) -> float:
    if cycle == "day":
        return second / 86400.0
    if cycle == "week":
        return (day - 1) % 7 / 7.0
    return (day - date(date.fromordinal(day).year, 1, 1).toordinal()) / 366.0


def check(column: Mapping[str, Any]) -> str:
    """What is wrong with a column of a `preprocess` table, or ""."""
    cycles = column.get("cycles")
    if not isinstance(cycles, (list, tuple)) or not cycles or not all(name in CYCLES for name in cycles):
        return f"cycles of {column['name']!r} are {cycles!r}, expected some of {', '.join(CYCLES)}"
    if column.get("order") not in ORDERS:
        return f"order of {column['name']!r} is {column.get('order')!r}, expected {' or '.join(ORDERS)}"
    if type(column.get("missing")) is not bool:
        return f"missing of {column['name']!r} is {column.get('missing')!r}, expected true or false"
    return ""
