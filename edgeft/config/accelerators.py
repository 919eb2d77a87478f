"""What a board profile says of accelerators: for people, nothing is gated on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.errors import nearest
from .tables import Source

KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "int8_tops": (int, float),
    "sparse": (bool,),
    "memory": (str,),
    "confidence": (str,),
}


def check(entries: Sequence[Mapping[str, Any]], source: Source) -> None:
    """Raise the profile's error for an unknown key of an entry, and for a value of another type."""
    for entry in entries:
        for key, value in entry.items():
            if key not in KEYS:
                raise source.fail(("accelerators", key), f"unknown key {key!r} in accelerators", nearest(key, KEYS))
            if type(value) not in KEYS[key]:
                kinds = " or ".join(kind.__name__ for kind in KEYS[key])
                raise source.fail(("accelerators", key), f"{key!r} of an accelerator must be {kinds}, not {value!r}")
