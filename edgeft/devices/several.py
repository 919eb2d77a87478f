"""The same work on several devices at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..core.errors import EdgeftError, UsageError


def side_by_side(names: Sequence[str], work: Callable[[str], Any]) -> list[dict[str, Any]]:
    """What `work(name)` returns for each device, in the order of names, each with `device`; a list is taken apart.

    A device that fails does not hold up the others: its error stands in its place, as `EdgeftError.as_dict` has it.
    """
    if len(set(names)) < len(names):
        raise UsageError("a device is named twice", where="--device", remedy="name each once")

    def one(name: str) -> list[dict[str, Any]]:
        try:
            result = work(name)
        except EdgeftError as error:
            return [{**error.as_dict(), "device": name}]
        return [{**entry, "device": name} for entry in (result if isinstance(result, list) else [result])]

    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        return [entry for entries in pool.map(one, names) for entry in entries]


def worst_code(codes: Sequence[int]) -> int:
    """The exit code of all together: 0, or the gravest of the others, an error before a failed gate."""
    order = (0, 5, 1, 4, 6, 3, 2, 70)
    return max(codes, key=lambda code: order.index(code) if code in order else len(order))
