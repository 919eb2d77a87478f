"""JSON of unknown origin: what would overflow a stack or a number is broken JSON, as any other fault in it."""

from __future__ import annotations

import json
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
