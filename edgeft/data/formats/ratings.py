"""Ratings: lines of user, item, rating and time, as MovieLens has them (`ratings.csv`, or the tab-separated `u.data`).

Every rating counts as an interaction, whatever its value (implicit feedback); of the same user and item the latest
counts. Ids are any strings. Names of the columns come from `data.columns` (user, item, rating, time), else those of
MovieLens are tried; a file without a header has the four columns in this order. Items are called by their titles
where a `movies.csv` or `u.item` lies beside the file. Interactions of the same time are in the order of the file.

Only numbers are kept of the lines, and each id once. `interactions.py` makes rows of them.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...config import recipe
from ...core.errors import DataError, RecipeError, SystemFailure, nearest
from ..delimited import Dialect, parted
from ..interactions import CANDIDATES, HELD, Histories, Rows
from ..record import Format
from ..samples import Dataset, Split

#: what a line holds -> the names its column is looked for under, in the order of a file without a header
COLUMNS = {
    "user": ("userId", "user_id", "user"),
    "item": ("movieId", "item_id", "item"),
    "rating": ("rating",),
    "time": ("timestamp", "time"),
}
FILES = ("ratings.csv", "ratings.tsv", "u.data")
#: a share of unusable lines above this stops the run
MAX_BAD = 0.05
#: of so few candidates nearly all would be among the first ten
FEWEST_CANDIDATES = 21


@dataclass
class _Lines:
    """What was read: numbers by line, ids by number, and the lines that cannot be used."""

    user: array[int] = field(default_factory=lambda: array("q"))
    item: array[int] = field(default_factory=lambda: array("q"))
    time: array[float] = field(default_factory=lambda: array("d"))
    line: array[int] = field(default_factory=lambda: array("q"))
    users: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    bad: int = 0
    first_bad: str = ""

    def refuse(self, where: str, why: str) -> None:
        self.bad += 1
        self.first_bad = self.first_bad or f"{where}: {why}"


def open(spec: recipe.Data) -> Dataset:
    """The ratings at `spec.path`, a file or the folder that holds one.

    Raises `DataError` naming file and line of what is wrong, `RecipeError` for a wrong key of `data.columns`.
    """
    path, lines = _lines(spec)
    histories, users, items, notes = _histories(path, lines)
    titles, title_notes = _titles(path, items)
    free = histories.n_items - max(len(histories.all(u)) for u in range(len(histories)))
    candidates = min(CANDIDATES, free + 1)
    if candidates < FEWEST_CANDIDATES:
        raise DataError(
            f"{histories.n_items} items, of which one user took all but {free}: no list of {FEWEST_CANDIDATES} "
            "candidates can be drawn",
            where=str(path),
            remedy="give ratings of more items",
        )
    if candidates < CANDIDATES:
        notes.append(f"each true item stands among {candidates - 1} negatives, not 99: there are too few items")
    rows = Rows(str(path), users, items, histories, candidates, spec.split_seed)
    n, learned = len(histories), len(rows.row_user)
    unranked = np.full((learned, 3), -1, np.int64)  # rows to learn from have several true items
    splits = {"train": Split("train", rows, np.arange(learned), unranked)}
    for which, name in ((1, "val"), (2, "test")):
        splits[name] = Split(name, rows, np.arange(n) + learned + (which - 1) * n, rows.targets(which))
    notes.append(
        f"{len(histories.items)} interactions of {n} users with {len(items)} items; the last of each user is the test"
    )
    facts = {"users": list(rows.users), "items": list(rows.items), "candidates": candidates}
    return Dataset(str(path), titles, splits, [*notes, *title_notes], facts)


def _lines(spec: recipe.Data) -> tuple[Path, _Lines]:
    """The file of ratings, and what it holds."""
    path = _find(spec.path)
    wrong = [key for key in spec.columns if key not in COLUMNS]
    if wrong:
        raise RecipeError(f"unknown column {wrong[0]!r}", where="data.columns", remedy=nearest(wrong[0], COLUMNS))
    return path, _read(path, spec)


def _find(named: str) -> Path:
    path = Path(named)
    if named and path.is_dir():
        path = next((path / name for name in FILES if (path / name).is_file()), path)
    if not named or not path.is_file():
        problem = "no ratings are given" if not named else "no such file, or a folder without one"
        raise DataError(problem, where=named or "data.path", remedy=f"set data.path to {' or '.join(FILES)}")
    return path


def _text(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str | None]]:
    """(number, text) of each line that is not empty; None where it is not in the encoding."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if not line.strip():
                    continue
                try:
                    yield number, line.decode(encoding).rstrip("\r\n")
                except UnicodeDecodeError:
                    yield number, None
    except PermissionError as error:
        raise SystemFailure("no permission to read this file", where=str(path)) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path)) from error


def _fields(text: str, form: Dialect) -> list[str]:
    """One line's fields; raises `csv.Error` where quotes are not closed."""
    if not form.quoted or '"' not in text:
        return text.split(form.delimiter)
    return next(csv.reader([text], delimiter=form.delimiter, strict=True))


def _layout(path: Path, first: str, named: Mapping[str, str], quoting: str) -> tuple[Dialect, dict[str, int], bool]:
    """(dialect, where each value stands, is the first line a header?)."""
    form = parted("\t" if "\t" in first else ",", quoting)
    try:
        head = [name.strip() for name in _fields(first, form)]
    except csv.Error as error:
        raise DataError(f"is not a line of columns ({error})", where=f"{path}:1") from error
    known = {name for names in COLUMNS.values() for name in names} | set(named.values())
    if not known & set(head):
        numeric = len(head) == len(COLUMNS) and all(_number(text) is not None for text in head[2:])
        if numeric and not named:
            return form, {key: i for i, key in enumerate(COLUMNS)}, False
        expected = ", ".join(named.values()) or ", ".join(names[0] for names in COLUMNS.values())
        raise DataError(
            f"has neither a header with {expected} nor four columns of user, item, rating, time: {first[:60]!r}",
            where=f"{path}:1",
            remedy='name them in the recipe, for example data.columns = { user = "uid", item = "sku", time = "when" }',
        )
    where = {}
    for key, names in COLUMNS.items():
        column = next((name for name in ((named[key],) if key in named else names) if name in head), None)
        if column is not None:
            where[key] = head.index(column)
        elif key in named or key != "rating":
            expected_column = named.get(key, names[0])
            raise DataError(
                f"has no column {expected_column!r} for the {key}",
                where=f"{path}:1",
                remedy=f"{nearest(expected_column, head)} Set data.columns.{key}",
            )
    return form, where, True


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read(path: Path, spec: recipe.Data) -> _Lines:
    lines, text_lines = _Lines(), _text(path)
    number, first = next(text_lines, (0, ""))
    if not number or first is None:
        raise DataError(
            "is empty" if not number else "is not UTF-8 text",
            where=f"{path}:1" if number else str(path),
            remedy="give lines of user, item, rating and time" if not number else "save the file in UTF-8",
        )
    form, at, header = _layout(path, first, spec.columns, spec.quoting)
    width, rating = max(at.values()) + 1, at.get("rating")
    if not header:
        _take(lines, f"{path}:{number}", number, first, form, at, width, rating)
    for number, text in text_lines:
        _take(lines, f"{path}:{number}", number, text, form, at, width, rating)
    return lines


def _take(
    lines: _Lines,
    where: str,
    number: int,
    text: str | None,
    form: Dialect,
    at: Mapping[str, int],
    width: int,
    rating: int | None,
) -> None:
    """Add one line, or count it among those that cannot be used."""
    if text is None:
        return lines.refuse(where, "is not UTF-8 text")
    try:
        fields = _fields(text, form)
    except csv.Error as error:
        return lines.refuse(where, str(error))
    if len(fields) < width:
        return lines.refuse(where, f"has {len(fields)} columns, expected {width} or more")
    user, item = fields[at["user"]].strip(), fields[at["item"]].strip()
    time = _number(fields[at["time"]])
    if not user or not item or not (user + item).isprintable():
        return lines.refuse(where, "has no user or item id of printable text")
    if time is None:
        return lines.refuse(where, f"the time {fields[at['time']][:40]!r} is not a number")
    if rating is not None and _number(fields[rating]) is None:
        return lines.refuse(where, f"the rating {fields[rating][:40]!r} is not a number")
    lines.user.append(lines.users.setdefault(user, len(lines.users)))
    lines.item.append(lines.items.setdefault(item, len(lines.items)))
    lines.time.append(time)
    lines.line.append(number)
    return None


def taken(spec: recipe.Data) -> tuple[dict[str, list[str]], list[str]]:
    """({user: ids of the items they took, in order of time}, notes), be it one user and ever so few items.

    For what a user did after the model was made; raises as `open` does, but wants no number of items.
    """
    path, lines = _lines(spec)
    user, item, _, again = _ordered(lines)
    notes = [again] if again else []
    notes += _left_out(path, lines, len(lines.user) + lines.bad)
    if not len(user):
        raise DataError("holds no ratings", where=str(path), remedy="give lines of user, item, rating and time")
    users, items = list(lines.users), list(lines.items)
    histories: dict[str, list[str]] = {}
    for who, what in zip(user, item):
        histories.setdefault(users[who], []).append(items[what])
    return histories, notes


def _ordered(lines: _Lines) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """(user, item, line) of each interaction, by user and time, the latest of equal ones; a note of the others."""
    user, item, line = (np.asarray(column, np.int64) for column in (lines.user, lines.item, lines.line))
    order = np.lexsort((np.asarray(lines.time, np.float64), user))  # stable: equal times stay in the file's order
    user, item, line = user[order], item[order], line[order]
    pairs = user * max(1, len(lines.items)) + item
    latest = np.sort(len(pairs) - 1 - np.unique(pairs[::-1], return_index=True)[1])
    again = len(pairs) - len(latest)
    note = f"{again} lines repeat a user and an item: the latest counts" if again else ""
    return user[latest], item[latest], line[latest], note


def _left_out(path: Path, lines: _Lines, total: int, all_of_them: bool = False) -> list[str]:
    """A note of the lines that cannot be used; `DataError` where they are too many."""
    if not lines.bad:
        return []
    if lines.bad > MAX_BAD * total or all_of_them:
        raise DataError(
            f"{lines.bad} of {total} lines cannot be used, the first: {lines.first_bad}",
            where=str(path),
            remedy="correct or remove these lines",
        )
    return [f"{lines.bad} of {total} lines left out, the first: {lines.first_bad}"]


def _histories(path: Path, lines: _Lines) -> tuple[Histories, list[str], list[str], list[str]]:
    """(interactions by user and time, ids of users, ids of items, notes); users and items without any are gone."""
    total = len(lines.user) + lines.bad
    user, item, line, again = _ordered(lines)
    few = np.bincount(user, minlength=len(lines.users)) <= HELD if len(user) else np.zeros(0, bool)
    short = few[user]
    notes = [again] if again else []
    if short.any():
        at = int(line[short].min())
        why = f"{int(few.sum())} user(s) have fewer than {HELD + 1} interactions"
        lines.refuse(f"{path}:{at}", f"{why}, too few to hold one back for validation and one for the test")
        lines.bad += int(short.sum()) - 1
    notes += _left_out(path, lines, total, bool(short.all()))
    if not len(user):
        raise DataError("holds no ratings", where=str(path), remedy="give lines of user, item, rating and time")
    user, item, line = user[~short], item[~short], line[~short]
    kept_users, user = np.unique(user, return_inverse=True)
    kept_items, item = np.unique(item, return_inverse=True)
    users, items = list(lines.users), list(lines.items)
    starts = np.concatenate([[0], np.cumsum(np.bincount(user))])
    histories = Histories(starts, item.astype(np.int32), line, len(kept_items))
    return histories, [users[k] for k in kept_users], [items[k] for k in kept_items], notes


def _titles(path: Path, items: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """(a name for each item, none twice, notes): titles where they are known, else ids."""
    beside = path.parent / "movies.csv"
    known: dict[str, str] = {}
    encoding, form = "utf-8", parted(",")
    if not beside.is_file():
        beside, encoding, form = path.parent / "u.item", "latin-1", parted("|")  # as MovieLens 100k has it
    for _, text in _text(beside, encoding) if beside.is_file() else ():
        try:
            fields = _fields(text, form) if text else []
        except csv.Error:
            continue
        if len(fields) > 1 and fields[1].strip():
            known[fields[0].strip()] = "".join(c if c.isprintable() else " " for c in fields[1].strip())
    names = [known.get(item, item) for item in items]
    count_of: dict[str, int] = {}
    for name in names:
        count_of[name] = count_of.get(name, 0) + 1
    unique = tuple(name if count_of[name] == 1 else f"{name} [{item}]" for name, item in zip(names, items))
    without = sum(item not in known for item in items)
    return unique, [f"{without} items have no title in {beside.name}"] if known and without else []


FORMAT = Format(
    name="ratings",
    description="Which user rated which item and when, in the forms of MovieLens.",
    open=open,
    keys=("path", "split_seed", "columns", "quoting"),
)
