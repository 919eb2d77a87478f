"""Strict TOML: a table becomes a frozen dataclass, and every mistake is reported with file, line and nearest key.

The dataclass is the schema: its annotations are the types, its defaults the values of what is left out. Used for
recipes, target profiles, schemes and calibration presets alike.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from ..core.errors import InvalidInput, SystemFailure, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:  # the board half also runs on Python 3.10
    import tomli as tomllib

T = TypeVar("T")
Key = tuple[str, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_ASSIGN = re.compile(rf"\s*({_DOTTED})\s*=")
_TOKEN = re.compile(r'"""|\'\'\'|"(?:\\.|[^"\\])*"|\'[^\']*\'|#.*|[\[\]{}]')
#: what to do about a path of Windows in double quotes
BACKSLASH = (
    'a backslash in double quotes begins an escape: write the path with slashes, "C:/data/cells", or in single '
    "quotes, 'C:\\data\\cells'"
)
BARE = re.compile(r"[A-Za-z0-9_-]+")  # a key that needs no quotes


@dataclass(frozen=True)
class Source:
    """Where a table came from: `name` is shown in errors, `text` is searched for line numbers (may be empty)."""

    name: str
    text: str = ""
    error: type[InvalidInput] = InvalidInput

    def at(self, path: Key = ()) -> str:
        """`file:line` of the key `path`, or of the table that would hold it, or just the name."""
        line = locate(self.text, path)
        return f"{self.name}:{line}" if line else self.name

    def fail(self, path: Key, message: str, remedy: str = "") -> InvalidInput:
        """The error to raise about the key `path`."""
        return self.error(message, where=self.at(path), remedy=remedy)


def read(path: Path | str, error: type[InvalidInput]) -> Source:
    """The text of a TOML file.

    Raises `error` where it is missing or no UTF-8 text, `SystemFailure` where we may not read it.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except PermissionError as problem:
        raise SystemFailure("no permission to read this file", where=str(path)) from problem
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise error("this is not UTF-8 text", where=f"{path}:{line}", remedy="save the file as UTF-8") from problem
    except (OSError, ValueError) as problem:  # ValueError: a null byte in the name
        reason = getattr(problem, "strerror", None) or str(problem)
        beside = (
            [str(other) for other in sorted(Path(path).parent.glob("*.toml"))]
            if isinstance(problem, FileNotFoundError)
            else []
        )
        remedy = nearest(str(path), beside) if beside else ""
        raise error(f"cannot be read: {reason}", where=str(path), remedy=remedy) from problem
    return Source(str(path), text, error)


def parse(source: Source) -> dict[str, Any]:
    """The tables of a TOML text; raises the source's error with file:line where the syntax is wrong."""
    try:
        return tomllib.loads(source.text)
    except RecursionError as problem:
        raise source.error("nested too deeply", where=source.name) from problem
    except ValueError as problem:  # TOMLDecodeError is one; an integer of thousands of digits is another
        message = str(problem)
        position = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
        where, remedy = source.name, ""
        if position:
            line = int(position[1]) if position[1] else source.text.rstrip().count("\n") + 1
            where, message = f"{where}:{line}", message[: position.start()]
            remedy = BACKSLASH if re.search(r'"[^"]*\\', source.text.split("\n")[line - 1]) else ""
        raise source.error(f"not valid TOML: {message}", where=where, remedy=remedy) from problem


def _key(dotted: str) -> Key:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in re.findall(_PART, dotted))


def _continues(line: str, quote: str, depth: int) -> tuple[str, int]:
    """The state after `line`: the triple quote that is still open ("" if none) and how many brackets are."""
    at = 0
    while at < len(line):
        if quote:
            end = line.find(quote, at)
            while quote == '"""' and end > 0 and line[end - 1] == "\\":
                end = line.find(quote, end + 1)
            if end < 0:
                return quote, depth
            at, quote = end + 3, ""
            continue
        token = _TOKEN.search(line, at)
        if token is None:
            break
        at = token.end()
        if token[0] in ('"""', "'''"):
            quote = token[0]
        elif token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1

    return quote, max(depth, 0)


def locate(text: str, path: Key) -> int:
    """The line (from 1) where `path` stands in a TOML text, else that of its nearest ancestor, else 0.

    Lines inside multi-line strings and arrays are no keys. Inline tables count as the line of their own key.
    """
    best, line_of_best = 0, 0
    table: Key = ()
    quote, depth = "", 0

    for number, line in enumerate(text.split("\n"), 1):  # splitlines would also split at U+0085
        nearest_key: Key | None = None
        rest = line
        if not quote and not depth:
            header, assign = _HEADER.match(line), _ASSIGN.match(line)
            if header:
                table = nearest_key = _key(header[1])
                rest = ""
            elif assign:
                nearest_key = (*table, *_key(assign[1]))
                rest = line[assign.end() :]
        quote, depth = _continues(rest, quote, depth)
        common = (
            0 if nearest_key is None else next((i for i, (a, b) in enumerate(zip(nearest_key, path)) if a != b), -1)
        )
        if common < 0:
            common = min(len(nearest_key or ()), len(path))
        if common > best:
            best, line_of_best = common, number

    return line_of_best


def dotted(path: Iterable[str]) -> str:
    return ".".join(path)


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    """The fields of a dataclass and their types, in order."""
    annotations = typing.get_type_hints(cls)
    return {field.name: annotations[field.name] for field in dataclasses.fields(cls)}


def build(cls: Callable[..., T], table: Mapping[str, Any], source: Source, path: Key = ()) -> T:
    """The dataclass `cls` from a TOML table: strict keys, strict types, defaults for what is left out.

    Raises the source's error for an unknown or missing key and for a value of the wrong type.
    """
    known = hints(typing.cast(type, cls))
    for key, value in table.items():
        if key not in known:
            kind = "table" if isinstance(value, dict) and not path else "key"
            name = dotted((*path, key))
            raise source.fail((*path, key), f"unknown {kind} {name!r}", nearest(key, known))

    values = {key: coerce(value, known[key], source, (*path, key)) for key, value in table.items()}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise source.fail(path, f"the key {dotted((*path, field.name))!r} is missing")

    return cls(**values)


_NAMES = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", dict: "a table"}


def _called(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is tuple:
        return "a list"
    if origin in (Union, types.UnionType):
        return " or ".join(_called(h) for h in get_args(hint) if h is not type(None))
    if dataclasses.is_dataclass(hint):
        return "a table"
    return _NAMES.get(origin or hint, str(hint))


def _mismatch(value: Any, hint: Any, source: Source, path: Key) -> InvalidInput:
    shown = repr(value) if len(repr(value)) < 60 else repr(value)[:57] + "..."
    kind = "a list" if isinstance(value, (list, tuple)) else _NAMES.get(type(value), type(value).__name__)
    remedy = ""
    if get_origin(hint) is tuple and isinstance(value, str):
        remedy = f'write {path[-1]} = ["{value}"]'
    return source.fail(path, f"{dotted(path)!r} must be {_called(hint)}, not {shown} ({kind})", remedy)


def coerce(value: Any, hint: Any, source: Source, path: Key) -> Any:
    """`value` as the annotation `hint` wants it: an int where a float is wanted, a tuple for a list, never a bool for
    an int, never nan or infinity. Raises the source's error."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return _plain(value, source, path)

    if origin in (Union, types.UnionType):
        options = [h for h in args if h is not type(None)]
        return None if value is None and type(None) in args else coerce(value, options[0], source, path)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(typing.cast(type, hint), value, source, path)
    if origin is tuple and isinstance(value, (list, tuple)):
        return _coerce_tuple(value, hint, source, path)
    if origin is dict and isinstance(value, Mapping):
        return {str(key): coerce(item, args[1], source, (*path, str(key))) for key, item in value.items()}
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _finite(value, source, path)
    if hint in (int, str, bool) and type(value) is hint:
        return value

    raise _mismatch(value, hint, source, path)


def _coerce_tuple(value: Iterable[Any], hint: Any, source: Source, path: Key) -> tuple[Any, ...]:
    """The members of a list; an error about one says `key[i]` and points at the line of the key."""
    args, items = get_args(hint), list(value)
    item_types = [args[0]] * len(items) if args[1:] == (...,) else list(args)
    if len(items) != len(item_types):
        raise source.fail(path, f"{dotted(path)!r} must have {len(item_types)} members, not {len(items)}")
    named = [(*path[:-1], f"{path[-1]}[{i}]") for i in range(len(items))]
    lines = dataclasses.replace(source, name=source.at(path), text="")
    return tuple(coerce(item, kind, lines, name) for item, kind, name in zip(items, item_types, named))


def _finite(value: int | float, source: Source, path: Key) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise source.fail(path, f"{dotted(path)!r} must be a finite number, not {number}")
    return number


def _plain(value: Any, source: Source, path: Key) -> Any:
    """What an annotation `Any` lets through: the values that JSON and TOML share."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, source, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, source, path) for item in value]
    if isinstance(value, float):
        return _finite(value, source, path)
    if isinstance(value, (bool, int, str)):
        return value

    raise source.fail(path, f"{dotted(path)!r} must be a string, number, list or table, not {type(value).__name__}")


def value_text(value: Any) -> str:
    """A value as TOML text; tables become inline tables. The inverse of parsing for every value that `coerce` gives."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)

    if isinstance(value, Mapping):
        inner = ", ".join(f"{key_text(key)} = {value_text(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"

    return "[" + ", ".join(value_text(item) for item in value) + "]"


def key_text(key: str) -> str:
    return key if BARE.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    short = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return (
        '"' + "".join(short.get(c) or (f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c) for c in text) + '"'
    )
