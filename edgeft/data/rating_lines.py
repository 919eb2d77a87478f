"""Lines of who took which item and when: delimited text, JSON lines, a JSON array, or Parquet.

Columns are those that `data.columns` names (user, item, rating, time), else those that data of the field have: of
MovieLens, Last.FM, Amazon reviews, Yelp, Goodreads, RecBole. A table without a header has user, item, rating and time
in this order, or fewer of them; `data.columns` may give the numbers of its columns. Times are numbers or dates of ISO
8601.

Only numbers are kept of the lines, and each id once.
"""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..config import recipe
from ..core import strict_json
from ..core.errors import DataError, RecipeError, SystemFailure, nearest
from . import columnar
from .delimited import READ_ERRORS, Lines, fields_of, opened, quoting_hint, unpacked_name
from .sniff import Table, encoding_of, examine

#: what a line holds -> what its column may be called, without regard to case, "_", "-" and blanks
COLUMNS = {
    "user": ("userId", "user", "reviewerID", "customer_id", "visitorid", "uid"),
    "item": (
        *("movieId", "item_id", "item", "parent_asin", "asin", "business_id", "product_id", "book_id", "ISBN"),
        *("artistID", "track_id", "song_id", "game_id", "video_id", "iid"),
    ),
    "rating": ("rating", "overall", "stars", "score", "Book-Rating", "weight", "plays", "play_count"),
    "time": ("timestamp", "time", "unixReviewTime", "date", "datetime", "date_added", "created_at"),
}
#: names of users and of items beside these, as `_plain` leaves them
_FURTHER = {
    "user": re.compile(r"(user|customer|reviewer|visitor|member|client|listener|reader|account)(id|name|hash|key)?"),
    "item": re.compile(
        r"(movie|item|product|book|song|track|artist|album|game|video|article|recipe|anime|beer|sku|asin|stock|course|show"
        r"|film|business|restaurant|merchant|app|podcast|news|place|venue)(id|name|title|code|key)?"
    ),
}
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
#: dates that are no ISO 8601, as Goodreads and Twitter write them
_DATES = ("%a %b %d %H:%M:%S %z %Y",)


@dataclass
class RatingLines:
    """What was read: numbers by line, ids by number, and the lines that cannot be used. `time` is empty without any."""

    user: array[int] = field(default_factory=lambda: array("q"))
    item: array[int] = field(default_factory=lambda: array("q"))
    time: array[float] = field(default_factory=lambda: array("d"))
    line: array[int] = field(default_factory=lambda: array("q"))
    users: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    bad: int = 0
    first_bad: str = ""
    notes: list[str] = field(default_factory=list)

    def refuse(self, where: str, why: str) -> None:
        self.bad += 1
        self.first_bad = self.first_bad or f"{where}: {why}"


def read(path: Path, spec: recipe.Data) -> RatingLines:
    """The lines of the file at `path`; raises `DataError` naming file and line, `RecipeError` for a wrong key."""
    wrong = [key for key in spec.columns if key not in COLUMNS]
    if wrong:
        raise RecipeError(f"unknown column {wrong[0]!r}", where="data.columns", remedy=nearest(wrong[0], COLUMNS))

    lines = RatingLines()
    suffix = unpacked_name(path).suffix.lower()
    try:
        if suffix in columnar.PARQUET:
            _read_objects(path, spec, lines, columnar.parquet_rows(path))
        elif suffix in JSON_SUFFIXES:
            array_of_objects = columnar.starts_with_array(path)
            objects = columnar.array_rows(path) if array_of_objects else _json_lines(path, spec, lines)
            _read_objects(path, spec, lines, objects)
        else:
            _read_table(path, spec, lines)
    except PermissionError as error:
        raise SystemFailure("no permission to read this file", where=str(path)) from error
    except READ_ERRORS as error:
        reason = getattr(error, "strerror", "") or error
        raise DataError(f"cannot be read: {reason}", where=str(path)) from error

    return lines


def _plain(name: str) -> str:
    """A column's name as it is compared: RecBole writes its type behind a colon."""
    return re.sub(r"[-_\s]", "", name.partition(":")[0]).lower()


def column_names(header: Sequence[str], stated: Mapping[str, str] | None = None) -> dict[str, str]:
    """{user, item, rating, time: the header's own name}, as far as they are there; `stated` is `data.columns`."""
    stated = stated or {}
    by_plain: dict[str, str] = {}
    for name in header:
        by_plain.setdefault(_plain(name), name)

    names = {}
    for key, known in COLUMNS.items():
        if key in stated:
            column = stated[key] if stated[key] in header else ""
        else:
            column = next((by_plain[_plain(alias)] for alias in known if _plain(alias) in by_plain), "")
        if column:
            names[key] = column

    further = {
        key: name
        for key, pattern in _FURTHER.items()
        if key not in names and key not in stated
        for plain, name in reversed(by_plain.items())
        if pattern.fullmatch(plain)
    }

    # one such word alone may be a value of a table without a header
    if {"user", "item"} <= {*names, *further}:
        names |= further

    return names


def _require(names: Mapping[str, str], header: Sequence[str], spec: recipe.Data, where: str) -> None:
    for key in COLUMNS:
        if key not in names and (key in spec.columns or key in ("user", "item")):
            expected = spec.columns.get(key, COLUMNS[key][0])
            raise DataError(
                f"has no column {expected!r} for the {key}",
                where=where,
                remedy=f"{quoting_hint(expected, list(header)) or nearest(expected, header)} Set data.columns.{key}",
            )


def _report(path: Path, names: Mapping[str, str], lines: RatingLines) -> None:
    usual = {("userId", "movieId"), ("user", "item"), ("0", "1")}
    if (names["user"], names["item"]) not in usual:
        columns = ", ".join(f"{key} {name!r}" for key, name in names.items())
        lines.notes.append(f"{path}: the columns read are {columns}; data.columns names others")


# --- delimited text ---------------------------------------------------------------------------------------------------


def _read_table(path: Path, spec: recipe.Data, lines: RatingLines) -> None:
    table = examine(path, spec, [(spec.columns[key],) if key in spec.columns else COLUMNS[key] for key in COLUMNS])
    lines.notes += table.notes
    places = _places(path, table, spec, lines)
    width = max(places.values()) + 1

    with opened(path) as file:
        text_lines = Lines(file, table.dialect.encoding)
        header = table.header
        for text in text_lines:
            if not text.strip():
                continue
            if header:
                header = False
                continue

            where = f"{path}:{text_lines.number}"
            if text.isascii() or text.isprintable() or not _undecodable(text):
                try:
                    fields = fields_of(text, table.dialect)
                except csv.Error as error:
                    lines.refuse(where, str(error))
                    continue

                if len(fields) < width:
                    lines.refuse(where, f"has {len(fields)} columns, expected {width} or more")
                    continue

                take(lines, where, text_lines.number, {key: fields[at] for key, at in places.items()})
            else:
                lines.refuse(where, "is not UTF-8 text" if table.dialect.encoding == "utf-8" else "cannot be decoded")


def _undecodable(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _places(path: Path, table: Table, spec: recipe.Data, lines: RatingLines) -> dict[str, int]:
    """Where each value stands in a line."""
    header = list(table.names)
    names = column_names(header, spec.columns)
    by_number = {key: int(name) for key, name in spec.columns.items() if name.isdigit() and int(name) < len(header)}

    if table.header and len(names) >= 2:
        _require(names, header, spec, f"{path}:1")
        _report(path, names, lines)
        return {key: header.index(name) for key, name in names.items()}

    if by_number:
        _require({**names, **{key: str(at) for key, at in by_number.items()}}, header, spec, f"{path}:1")
        return by_number

    width = len(table.first)
    numeric = all(_number(text) is not None for text in table.first[2:])
    if spec.columns or not 2 <= width <= len(COLUMNS) or not numeric or (table.header and spec.header == "yes"):
        if names or spec.columns:
            _require(names, header, spec, f"{path}:1")
        raise DataError(
            "has neither a header with userId, movieId, rating, timestamp nor columns of user, item, rating, time: "
            f"{table.dialect.delimiter.join(table.first)[:80]!r}",
            where=f"{path}:1",
            remedy='name them in the recipe, for example data.columns = { user = "uid", item = "sku", time = "when" }, '
            'or by number from 0 with data.header = "no"',
        )

    order = list(COLUMNS)[:width]
    return {key: at for at, key in enumerate(order)}


# --- JSON and Parquet -------------------------------------------------------------------------------------------------


def _json_lines(path: Path, spec: recipe.Data, lines: RatingLines) -> Iterator[tuple[int, Any]]:
    encoding = encoding_of(path, spec, lambda: opened(path), lines.notes)
    with opened(path) as file:
        text_lines = Lines(file, encoding)
        for text in text_lines:
            if text.strip():
                try:
                    yield text_lines.number, strict_json.loads(text)
                except (ValueError, RecursionError):
                    yield text_lines.number, None


def _read_objects(path: Path, spec: recipe.Data, lines: RatingLines, objects: Iterator[tuple[int, Any]]) -> None:
    names: dict[str, str] = {}
    for number, values in objects:
        where = f"{path}:{number}"
        if not isinstance(values, dict):
            lines.refuse(where, "is not a JSON object")
            continue

        if not names:
            names = column_names(list(values), spec.columns)
            _require(names, list(values), spec, where)
            _report(path, names, lines)

        absent = [name for name in names.values() if values.get(name) is None]
        if absent:
            lines.refuse(where, f"has no {absent[0]!r}")
            continue

        take(lines, where, number, {key: values[name] for key, name in names.items()})


# --- values -----------------------------------------------------------------------------------------------------------


def take(lines: RatingLines, where: str, number: int, values: Mapping[str, Any]) -> None:
    """Add one line, or count it among those that cannot be used."""
    user, item = str(values["user"]).strip(), str(values["item"]).strip()
    if not user or not item or not (user + item).isprintable():
        return lines.refuse(where, "has no user or item id of printable text")
    if "rating" in values and _number(values["rating"]) is None:
        return lines.refuse(where, f"the rating {str(values['rating'])[:40]!r} is not a number")

    if "time" in values:
        time = _time(values["time"])
        if time is None:
            return lines.refuse(where, f"the time {str(values['time'])[:40]!r} is not a number or a date")
        lines.time.append(time)

    lines.user.append(lines.users.setdefault(user, len(lines.users)))
    lines.item.append(lines.items.setdefault(item, len(lines.items)))
    lines.line.append(number)
    return None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _time(value: Any) -> float | None:
    """Seconds, or whatever unit the numbers of the file have; None for no number and no date."""
    number = _number(value)
    if number is not None:
        return number

    if isinstance(value, datetime):
        moment = value
    else:
        text = str(value).strip()
        try:
            moment = datetime.fromisoformat(re.sub(r"Z$", "+00:00", text))
        except ValueError:
            moment = next((date for form in _DATES if (date := _parsed(text, form))), None)  # type: ignore[assignment]
            if moment is None:
                return None

    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _parsed(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None
