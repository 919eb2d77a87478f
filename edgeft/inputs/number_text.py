"""Numbers as people write them: a decimal comma, signs between thousands, a unit; which of these a column has.

A column's notation stands in the `preprocess` table as `written` {"decimal", "thousands", "unit"}; plain numbers have
none. The same reading is in the bundle's runner (`run_columns.py`).
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence

#: signs between thousands beside comma and point: spaces of three kinds and apostrophes
SPACES = (" ", "\u00a0", "\u202f", "'", "\u2019")
#: what may stand before a number; behind one any short text may, if it is the same in the whole column
_BEFORE = ("€", "$", "£", "¥", "₹")
_PARTED = re.compile(r"([^\d+\-.,]?)\s*([+-]?(?:[\d.,'\u2019 \u00a0\u202f]*\d)(?:[eE][+-]?\d+)?)\s*([^\d\s.,]{0,6})")
_PLAIN = {"decimal": ".", "thousands": "", "unit": ""}


def plain(text: str, written: Mapping[str, str]) -> str:
    """The number that `text` is in a notation, as Python writes it; any other text as it is."""
    core = text.strip()
    unit = written["unit"]
    if unit:
        core = core.removeprefix(unit) if core.startswith(unit) else core.removesuffix(unit)

    core = core.strip()
    if not _pattern(written["decimal"], written["thousands"]).fullmatch(core):
        return core

    if written["thousands"]:
        core = core.replace(written["thousands"], "")

    return core.replace(written["decimal"], ".")


def number(text: str, written: Mapping[str, str] | None = None) -> float | None:
    """The finite number that a field holds in a notation (None: plain), or None."""
    try:
        value = float(text if written is None else plain(text, written))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def notation(values: Sequence[str], decimal: str = "") -> dict[str, str] | None:
    """The notation in which all `values` are numbers: `_PLAIN` where Python reads them, None where they are none.

    `decimal` is the decimal mark where the user or the delimiter says it. Without it a comma before three digits is one
    of thousands, as far as every value allows that.
    """
    scan = Scan()
    scan.add(values)
    return scan.notation(decimal)


class Scan:
    """Finds the notation of values that come a part at a time."""

    def __init__(self) -> None:
        self.possible = True
        self._count, self._plain, self._small = 0, True, False
        self._marks: set[str] = set()
        self._units: set[tuple[str, str]] = set()
        self._fitting = [(mark, sign) for mark in ".," for sign in ("", ".", ",", *SPACES) if sign != mark]

    def add(self, values: Sequence[str]) -> None:
        """Look at further values; `possible` is false as soon as no notation is left."""
        if not self.possible or not values:
            return
        self._count += len(values)
        self._plain = self._plain and all(number(value) is not None for value in values)
        parts = [_PARTED.fullmatch(value.strip()) for value in values]
        matched = [part for part in parts if part is not None]
        self._units |= {(part[1], part[3]) for part in matched}
        if len(matched) < len(parts) or len(self._units) > 1:
            self._fitting = []

        cores = [part[2] for part in matched]
        text = "".join(cores)
        self._marks |= {mark for mark in (",", ".", *SPACES) if mark in text}
        self._small = self._small or ("," in text and any(core.lstrip("+-").startswith("0,") for core in cores))
        self._fitting = [
            (mark, sign) for mark, sign in self._fitting if all(map(_pattern(mark, sign).fullmatch, cores))
        ]
        self.possible = self._plain or bool(self._fitting)

    def notation(self, decimal: str = "") -> dict[str, str] | None:
        """As the function `notation`, of all values that were looked at."""
        if self._plain and self._count:
            return dict(_PLAIN)
        if not self._fitting or not self._units:
            return None

        before, behind = next(iter(self._units))
        if (before and (behind or before not in _BEFORE)) or behind.lower() in ("e", "nan", "inf"):
            return None

        written = next((pair for pair in self._candidates(decimal) if pair in self._fitting), None)
        return None if written is None else dict(zip(_PLAIN, (*written, before or behind)))

    def _candidates(self, decimal: str) -> list[tuple[str, str]]:
        """(decimal mark, sign of thousands), the likeliest first."""
        spaces = [sign for sign in SPACES if sign in self._marks]
        point, comma = (".", ""), (",", "")

        if spaces:
            order = [(mark, sign) for mark in (",", ".") for sign in spaces]
        elif "," in self._marks and "." in self._marks:
            order = [(".", ","), (",", ".")]
        elif "," in self._marks:
            order = [comma, (".", ",")] if self._small else [(".", ","), comma]
        else:
            order = [point, (",", ".")]

        if decimal:
            order = sorted(order, key=lambda pair: pair[0] != decimal)

        return order


@functools.cache
def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    whole = r"\d+"
    if thousands:
        whole = rf"(?:[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+|\d+)"
    return re.compile(rf"[+-]?{whole}(?:{re.escape(decimal)}\d+)?(?:[eE][+-]?\d+)?")
