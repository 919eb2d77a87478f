"""JSON of unknown origin: what would overflow a stack or a number is broken JSON, as any other fault in it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

#: of a whole number; those of 64 bits have fewer
MOST_DIGITS = 20


def loads(text: str | bytes) -> Any:
    """As `json.loads`; raises `json.JSONDecodeError` (a `ValueError`) also where values nest too deep or a whole number
    has more than `MOST_DIGITS` digits, which numpy cannot hold."""
    try:
        return json.loads(text, parse_int=whole)
    except RecursionError as error:
        raise json.JSONDecodeError("values nest too deep", "", 0) from error


def whole(text: str) -> int:
    """A whole number of JSON; raises `json.JSONDecodeError` for too many digits."""
    if len(text) > MOST_DIGITS:
        raise json.JSONDecodeError(f"a whole number of {len(text)} digits", "", 0)
    return int(text)


def plain(value: Any) -> Any:
    """The value in strict JSON types: paths are strings, arrays are lists, NaN and infinities are null."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if hasattr(value, "tolist"):  # a numpy scalar or array, without importing numpy
        return plain(value.tolist())

    return str(value)


def dumps(value: Mapping[str, Any]) -> str:
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
