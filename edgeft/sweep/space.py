"""What a sweep searches: the keys of a recipe with a distribution each.

    uniform(LOW, HIGH)       real numbers          int(LOW, HIGH)      whole numbers, both ends included
    loguniform(LOW, HIGH)    on a log scale        logint(LOW, HIGH)   whole numbers on a log scale
    choice(A, B, ...)        one of these values, TOML or bare words

A TOML file says the same: `lr = "loguniform(1e-5, 1e-2)"` below `[train]`, and a list is a choice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import recipe as recipes
from ..config import tables
from ..config.recipe import Recipe
from ..core.errors import EdgeftError, RecipeError, UsageError, nearest

#: kind -> (whole numbers, on a log scale) of those with two bounds
RANGES = {
    "uniform": (False, False),
    "loguniform": (False, True),
    "int": (True, False),
    "logint": (True, True),
}
CHOICE = "choice"
#: keys that a trial may not change: what is compared would not be the same any more
FIXED = ("task", "name", "data.path", "data.format", "data.split", "data.split_seed", "train.tracker")
_FORM = re.compile(r"\s*([A-Za-z_]+)\s*\((.*)\)\s*", re.DOTALL)


@dataclass(frozen=True)
class Dimension:
    """One key and its distribution: `low` and `high` of a range, `choices` of a choice (TOML values)."""

    key: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()

    @property
    def text(self) -> str:
        """The form that `parse` reads."""
        if self.kind == CHOICE:
            return f"{CHOICE}({', '.join(tables.value_text(value) for value in self.choices)})"
        bounds = (int(self.low), int(self.high)) if RANGES[self.kind][0] else (self.low, self.high)
        return f"{self.kind}({bounds[0]!r}, {bounds[1]!r})"

    @property
    def count(self) -> float:
        """How many values there are; infinite for real numbers."""
        if self.kind == CHOICE:
            return len(self.choices)
        return self.high - self.low + 1 if RANGES[self.kind][0] else math.inf

    def setting(self, value: Any) -> str:
        """`key=value` as `--set` takes it."""
        return f"{self.key}={tables.value_text(value)}"

    def ends(self) -> tuple[Any, ...]:
        """The values whose correctness says that all are right: both bounds, or every choice."""
        if self.kind == CHOICE:
            return self.choices
        return (int(self.low), int(self.high)) if RANGES[self.kind][0] else (self.low, self.high)


def split(settings: Iterable[str]) -> tuple[list[Dimension], list[str]]:
    """(the dimensions, the plain settings) of `--set` values; what looks like no distribution is a plain setting.

    Raises `UsageError` for a distribution that is misspelt or has wrong bounds.
    """
    dimensions, plain = [], []
    for setting in settings:
        key, equals, raw = setting.partition("=")
        form = _FORM.fullmatch(raw) if equals else None
        if form is None:
            plain.append(setting)
        else:
            dimensions.append(_dimension(key.strip(), form[1], form[2], f"--set {setting}"))

    return dimensions, plain


def read(path: Path) -> list[Dimension]:
    """The dimensions of a TOML file with the recipe's tables. Raises `RecipeError` naming file and line."""
    source = tables.read(path, RecipeError)
    dimensions: list[Dimension] = []

    def walk(table: Mapping[str, Any], place: tuple[str, ...]) -> None:
        for name, value in table.items():
            here = (*place, *name.split("."))
            where = source.at((*place, name))
            if isinstance(value, Mapping):
                walk(value, here)
            elif isinstance(value, list) and value:
                dimensions.append(_choice(".".join(here), value, where))
            elif isinstance(value, str) and (form := _FORM.fullmatch(value)):
                dimensions.append(_dimension(".".join(here), form[1], form[2], where))
            else:
                remedy = 'write a list of values, or "loguniform(1e-5, 1e-2)"; what is fixed stands in the recipe'
                raise source.fail((*place, name), f"{'.'.join(here)!r} is no distribution", remedy)

    walk(tables.parse(source), ())
    return dimensions


def _dimension(key: str, kind: str, inner: str, where: str) -> Dimension:
    if kind not in (*RANGES, CHOICE):
        raise UsageError(f"there is no distribution {kind!r}", where=where, remedy=nearest(kind, (*RANGES, CHOICE)))
    if kind == CHOICE:
        return _choice(key, _values(inner, where), where)

    whole, log = RANGES[kind]
    numbers = [_number(part, whole, where) for part in inner.split(",")]
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise UsageError(f"{kind}({inner}) wants a lower and a higher bound", where=where, remedy=f"{kind}(LOW, HIGH)")
    if log and numbers[0] <= 0:
        raise UsageError(f"{kind}({inner}) has no logarithm at {numbers[0]:g}", where=where, remedy="begin above 0")

    return Dimension(key, kind, numbers[0], numbers[1])


def _number(text: str, whole: bool, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (whole and number != int(number)):
        kind = "whole number" if whole else "number"
        raise UsageError(f"{text.strip()!r} is no {kind}", where=where, remedy="for example loguniform(1e-5, 1e-2)")
    return number


def _values(inner: str, where: str) -> list[Any]:
    """The members of `choice(...)`: a TOML list, else bare words parted by commas."""
    try:
        parsed = tables.parse(tables.Source("", f"value = [{inner}]", RecipeError))
        if set(parsed) == {"value"}:
            return list(parsed["value"])
    except RecipeError:
        pass
    return [_word(part.strip()) for part in inner.split(",")]


def _word(text: str) -> Any:
    try:
        parsed = tables.parse(tables.Source("", f"value = {text}", RecipeError))
    except RecipeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def _choice(key: str, values: Sequence[Any], where: str) -> Dimension:
    texts = [tables.value_text(value) for value in values]
    if len(values) < 2 or len(set(texts)) < len(texts):
        raise UsageError("a choice needs two different values or more", where=where, remedy="choice(16, 32, 64)")
    return Dimension(key, CHOICE, choices=tuple(values))


def check(base: Recipe, dimensions: Sequence[Dimension]) -> None:
    """Raise `UsageError` or `RecipeError` unless every value of every dimension is right for the recipe's key."""
    if not dimensions:
        raise UsageError(
            "nothing is searched: no --set has a distribution",
            remedy='for example --set "train.lr=loguniform(1e-5, 1e-2)", or --space FILE',
        )

    keys = [dimension.key for dimension in dimensions]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"{key} has two distributions", remedy="leave one out")
        if key in FIXED:
            raise UsageError(f"{key} cannot be searched: trials could not be compared", remedy="leave it out")

    for dimension in dimensions:
        for value in dimension.ends():
            try:
                changed = recipes.override(base, [dimension.setting(value)], "sweep")
            except EdgeftError as error:
                error.where = f"{dimension.key}={dimension.text}"
                raise
            _same_type(base, changed, dimension, value)


def _same_type(base: Recipe, changed: Recipe, dimension: Dimension, value: Any) -> None:
    """A whole number where the key wants a text would be taken as the text: that is no search."""
    before = recipes.value_of(base, dimension.key) if "." in dimension.key else None
    after = recipes.value_of(changed, dimension.key) if before is not None else None
    if isinstance(after, str) and not isinstance(value, str):
        raise UsageError(f"{dimension.key} is a text, not {value!r}", where=f"{dimension.key}={dimension.text}")


def apply(base: Recipe, dimensions: Sequence[Dimension], values: Mapping[str, Any]) -> Recipe:
    """The recipe of a trial."""
    return recipes.override(base, [dimension.setting(values[dimension.key]) for dimension in dimensions], "sweep")


def count(dimensions: Sequence[Dimension]) -> float:
    """How many different trials there are; infinite where a key has real numbers."""
    return math.prod(dimension.count for dimension in dimensions)


def as_table(dimensions: Sequence[Dimension]) -> dict[str, str]:
    """{key: its form}, from which `from_table` makes the same dimensions."""
    return {dimension.key: dimension.text for dimension in dimensions}


def from_table(table: Mapping[str, str]) -> list[Dimension]:
    """The inverse of `as_table`."""
    dimensions, _ = split(f"{key}={text}" for key, text in table.items())
    return dimensions
