"""Numbers as people write them: a decimal comma, signs between thousands, a unit; which of these a column has.

A column's notation stands in the `preprocess` table as `written` {"decimal", "thousands", "unit"}; plain numbers have
none. The same reading is in the bundle's runner (`run_columns.py`).
"""

from __future__ import annotations

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
    if not values:
        return None
    if all(number(value) is not None for value in values):
        return dict(_PLAIN)

    parts = [_PARTED.fullmatch(value.strip()) for value in values]
    units = {(part[1], part[3]) for part in parts if part is not None}
    if None in parts or len(units) != 1:
        return None

    before, behind = next(iter(units))
    if (before and (behind or before not in _BEFORE)) or behind.lower() in ("e", "nan", "inf"):
        return None

    cores = [part[2] for part in parts if part is not None]
    for mark, thousands in _candidates(cores, decimal):
        written = {"decimal": mark, "thousands": thousands, "unit": before or behind}
        if all(_pattern(mark, thousands).fullmatch(core) for core in cores):
            return written

    return None


def _candidates(cores: Sequence[str], decimal: str) -> list[tuple[str, str]]:
    """(decimal mark, sign of thousands), the likeliest first."""
    text = "".join(cores)
    spaces = [sign for sign in SPACES if sign in text]
    point, comma = (".", ""), (",", "")

    if spaces:
        order = [(mark, sign) for mark in (",", ".") for sign in spaces]
    elif "," in text and "." in text:
        order = [(".", ","), (",", ".")]
    elif "," in text:
        small = any(core.lstrip("+-").startswith("0,") for core in cores)
        order = [comma, (".", ",")] if small else [(".", ","), comma]
    else:
        order = [point, (",", ".")]

    if decimal:
        order = sorted(order, key=lambda pair: pair[0] != decimal)

    return order


def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    whole = r"\d+"
    if thousands:
        whole = rf"(?:[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+|\d+)"
    return re.compile(rf"[+-]?{whole}(?:{re.escape(decimal)}\d+)?(?:[eE][+-]?\d+)?")
