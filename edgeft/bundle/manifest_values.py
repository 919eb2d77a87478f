"""Values of a manifest: what each must be, and the error that names the key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..core.errors import BundleError

WORDS = {str: "text", dict: "an object", list: "a list", int: "a whole number", float: "a number", type(None): "null"}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def fail(where: str, message: str) -> BundleError:
    return BundleError(message, where=f"manifest.json: {where}", remedy="export the bundle again")


def get(table: Mapping[str, Any], key: str, types: tuple[type, ...], where: str) -> Any:
    path = f"{where}.{key}" if where else key
    if key not in table:
        raise fail(path, "the key is missing")
    if type(table[key]) not in types:
        raise fail(path, f"is {short(table[key])}, expected {' or '.join(WORDS[t] for t in types)}")
    return table[key]


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def as_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise fail(where, f"is {short(value)}, expected an object")
    return value


def check_line(value: Any, where: str) -> None:
    if not isinstance(value, str) or not value or CONTROL.search(value):
        raise fail(where, f"is {short(value)}, expected one line of printable text")


def check_sha(value: str, where: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise fail(where, f"is {short(value)}, expected 64 hexadecimal digits")


def check_shape(value: list[Any], where: str) -> None:
    if not all(type(side) is int and (side >= 1 or side == -1) for side in value):
        raise fail(where, f"is {short(value)}, expected whole numbers (-1 where the size is free)")
