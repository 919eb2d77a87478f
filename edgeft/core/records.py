"""Checks that the records of this project share."""

from __future__ import annotations

import dataclasses
from typing import Any

from .errors import InvalidInput


def require_functions(record: Any, where: str) -> None:
    """Raise `InvalidInput` unless each field of the dataclass instance `record` that is annotated as a `Callable` holds
    a function, or None where None is its default. `where` names the record in the message."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if "Callable" in str(field.type) and not (callable(value) or (value is None and field.default is None)):
            raise InvalidInput(f"`{field.name}` is {type(value).__name__}, expected a function", where=where)


def require_together(record: Any, names: tuple[str, ...], where: str) -> None:
    """Raise `InvalidInput` where some of the optional fields `names` are set and others are None."""
    absent = [name for name in names if getattr(record, name) is None]
    if absent and len(absent) < len(names):
        listed = " and ".join([", ".join(f"`{name}`" for name in names[:-1]), f"`{names[-1]}`"])
        raise InvalidInput(f"{listed} belong together, and `{absent[0]}` is not set", where=where)
