"""The keys of a recipe that may be paths: the home folder, and what no path has."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from ..core.files import user_path
from . import tables

#: keys that may be a path
PATHS = ("data.path", "model.weights", "model.name", "quantize.calibration")


def at_home(recipe: Any) -> Any:
    """The recipe with a leading `~` of each of its paths replaced by the home folder."""
    for key in PATHS:
        table, _, name = key.partition(".")
        part = getattr(recipe, table)
        value = getattr(part, name)
        if value.startswith("~"):
            part = dataclasses.replace(part, **{name: str(user_path(value))})
            recipe = dataclasses.replace(recipe, **{table: part})
    return recipe


def check(recipe: Any, fail: Callable[..., Exception]) -> None:
    """Raise what `fail(key, message, remedy)` returns for a path of Windows in which a backslash began an escape."""
    for key in PATHS:
        table, _, name = key.partition(".")
        value = getattr(getattr(recipe, table), name)
        if re.match(r"[A-Za-z]:[^\x00-\x1f]*[\x00-\x1f]", value):
            raise fail(key, f"cannot be {value!r}: no path has such characters", tables.BACKSLASH)
