"""The size of a network's pictures: what a recipe states, or the proportions of the data's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.errors import RecipeError

#: a net whose size follows the data's pictures is not made for more
MOST_PIXELS = 512 * 512


def of_data(size: tuple[int, ...], multiple: int, facts: Mapping[str, Any]) -> tuple[int, ...]:
    """That of the data's pictures for a net that takes any multiple of `multiple`: at most `MOST_PIXELS`, with the same
    proportions. `size` itself where `multiple` is 0 or the data state none."""
    if not multiple or "picture_size" not in facts:
        return size

    height, width = facts["picture_size"]
    factor = min(1.0, (MOST_PIXELS / (height * width)) ** 0.5)
    return tuple(max(1, round(side * factor / multiple)) * multiple for side in (height, width))


def stated(value: Any, row: bool = False) -> tuple[int, ...]:
    """Height and width of `model.args.size`; with `row` also one number, [columns], for a net that takes rows of
    numbers. Raises `RecipeError`."""
    sides = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, Sequence) else ()
    if len(sides) not in ((1, 2) if row else (2,)) or not all(type(side) is int and side > 0 for side in sides):
        raise RecipeError(f"is {value!r}, expected pixels or [height, width]", where="model.args.size")
    return sides
