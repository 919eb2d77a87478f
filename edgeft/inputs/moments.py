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
    if not values:
        return None
    if stated:
        return (stated, False) if all(read(value, stated) for value in values) else None

    usual = ORDERS if "." in values[0] else ORDERS[::-1]
    fitting = [order for order in usual if all(read(value, order) is not None for value in values)]
    if not fitting:
        return None

    differ = len(fitting) > 1 and any(read(value, ORDERS[0]) != read(value, ORDERS[1]) for value in values)
    return fitting[0], differ


def cycles_of(values: Sequence[str], order: str) -> list[str]:
    """The cycles on which training values lie at different places and that they span."""
    moments = [moment for value in values if (moment := read(value, order)) is not None]
    days = [day for day, _ in moments if day is not None]
    span = max(days) - min(days) + 1 if days else math.inf
    cycles = ["day"] if len({second for _, second in moments}) > 1 and span >= CYCLES["day"] else []
    if not days:
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
