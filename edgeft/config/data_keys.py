"""Keys of [data]: what values they may have together, and the keys that a data format declares of its own.

A format declares keys by a frozen dataclass (`Format.options`) whose fields are made by `option`. In a recipe they
stand in [data] beside the others and are checked as strictly; in a `Data` they are the mapping `options`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import InvalidInput, RecipeError, nearest
from ..plugins import DATA_FORMATS
from . import tables

Fail = Callable[..., RecipeError]


@dataclass(frozen=True)
class Bounds:
    """The values that a key may have: one of `choices` where there are any, and from `low` to `high`, both included."""

    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None


def option(
    default: Any, meaning: str, *, choices: Sequence[Any] = (), low: float | None = None, high: float | None = None
) -> Any:
    """A key of a data format: its default, its meaning for the reference, and the values that it may have.

    The annotation of the dataclass's field is the type: `str`, `int`, `float`, `bool`, `tuple[str, ...]` and the like.
    """
    metadata = {"meaning": meaning, "bounds": Bounds(tuple(choices), low, high)}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def parted(table: Mapping[str, Any], plain_keys: Sequence[str], source: tables.Source) -> Mapping[str, Any]:
    """A recipe's tables with the format's keys of [data], checked, under `options`.

    `plain_keys` are those of every format. Raises the source's error, with the key's line, for a key that neither has
    and for a wrong value, and what importing the format raises.
    """
    data = table.get("data")
    if not isinstance(data, Mapping):
        return table

    plain = {key: value for key, value in data.items() if key in plain_keys}
    extra = {key: value for key, value in data.items() if key not in plain_keys}
    name = data.get("format")
    if not isinstance(name, str) or (not extra and name in DATA_FORMATS.builtin):
        return table if not extra else _refused(extra, plain_keys, source)
    if name not in DATA_FORMATS:
        raise source.fail(("data", "format"), f"'data.format' cannot be {name!r}", nearest(name, DATA_FORMATS.names()))

    kind = DATA_FORMATS.get(name).options
    if kind is None:
        return {**table, "data": plain} if not extra else _refused(extra, plain_keys, source)

    own_keys = tables.hints(kind)
    _refused({key: value for key, value in extra.items() if key not in own_keys}, (*plain_keys, *own_keys), source)
    options = read(kind, extra, source)
    return {**table, "data": {**plain, "options": dataclasses.asdict(options)}}


def _refused(extra: Mapping[str, Any], known: Sequence[str], source: tables.Source) -> Mapping[str, Any]:
    """Raise the source's error for the first key of `extra`; {} where there is none."""
    for key in extra:
        raise source.fail(("data", key), f"unknown key 'data.{key}'", nearest(key, known))
    return {}


def read(kind: type, values: Mapping[str, Any], source: tables.Source) -> Any:
    """The instance of a format's dataclass from plain values. Raises the source's error for a key, type or value."""
    options = tables.build(kind, values, source, ("data",))
    for field in dataclasses.fields(kind):
        value, bounds = getattr(options, field.name), field.metadata.get("bounds", Bounds())
        path, key = ("data", field.name), f"'data.{field.name}'"
        if bounds.choices and value not in bounds.choices:
            remedy = nearest(str(value), [str(choice) for choice in bounds.choices])
            raise source.fail(path, f"{key} cannot be {value!r}", remedy)
        if bounds.low is not None and value < bounds.low:
            raise source.fail(path, f"{key} must be at least {bounds.low:g}, not {value:g}")
        if bounds.high is not None and value > bounds.high:
            raise source.fail(path, f"{key} must be at most {bounds.high:g}, not {value:g}")

    return options


def types(name: str) -> dict[str, Any]:
    """{key: type} of the keys that the data format `name` declares; {} for an unknown format."""
    kind = DATA_FORMATS.get(name).options if name in DATA_FORMATS and name not in DATA_FORMATS.builtin else None
    return {} if kind is None else tables.hints(kind)


def require_new_keys(kind: type, plain_keys: Sequence[str], where: str) -> None:
    """Raise `InvalidInput` unless `kind` is a dataclass with defaults whose fields are no keys of every format."""
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise InvalidInput("`options` must be a dataclass, whose fields are keys of [data]", where=where)
    for field in dataclasses.fields(kind):
        if field.name in plain_keys:
            raise InvalidInput(f"`options` has the key {field.name!r}, which every format has", where=where)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InvalidInput(f"the key {field.name!r} of `options` has no default", where=where)


def check(data: Any, fail: Fail) -> None:
    """Raise the error that `fail(key, message, remedy)` makes for values of [data] that do not go together."""
    if data.channels not in (1, 3):
        raise fail("data.channels", f"must be 1 or 3, not {data.channels}")
    if len(data.split) != 3 or min(data.split) < 0 or abs(sum(data.split) - 1) > 1e-6:
        raise fail("data.split", f"must be three fractions (train, val, test) that add up to 1, not {list(data.split)}")
    if data.split[0] == 0 or data.split[2] == 0:
        raise fail("data.split", "must leave samples for train and for test")
    if not data.text or len(set(data.text)) < len(data.text) or data.label in data.text:
        raise fail("data.text", f"must name columns, each once and none of them the label, not {list(data.text)}")
    if data.delimiter and (len(data.delimiter) > 3 or re.search(r'[\w"\r\n]', data.delimiter)):
        raise fail("data.delimiter", f"cannot be {data.delimiter!r}", 'such as ",", ";", "\\t", "|" or "::"')

    for key in ("mean", "std"):
        values = getattr(data, key)
        if values and len(values) != data.channels:
            raise fail(f"data.{key}", f"must have one number a channel ({data.channels}), not {len(values)}")

    if any(value <= 0 for value in data.std):
        raise fail("data.std", "must be above 0 in every channel")
    if data.value_range and (len(data.value_range) != 2 or data.value_range[0] >= data.value_range[1]):
        raise fail("data.value_range", f"must be [low, high], not {list(data.value_range)}", "for example [0, 4095]")

    if bool(data.mean) != bool(data.std):
        key, counterpart = ("mean", "std") if data.mean else ("std", "mean")
        raise fail(f"data.{key}", f"is given without data.{counterpart}", "give both, or neither for the weights' own")
