"""Ratings: lines of user, item, rating and time, as MovieLens and others have them (`rating_lines.py`).

Every rating counts as an interaction, whatever its value (implicit feedback); of the same user and item the latest
counts. Interactions of the same time are in the order of the file; without times their order is drawn by seed. Items
are called by their titles where a list of them (`movies.csv`, `movies.dat`, `u.item`, `artists.dat`) lies beside the
file.

`interactions.py` makes rows of them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...config import data_keys, recipe
from ...core.errors import DataError
from .. import left_out, recognize
from ..delimited import Lines, fields_of, opened, parted, unpacked_name
from ..interactions import CANDIDATES, HELD, Histories, Rows
from ..rating_lines import JSON_SUFFIXES, RatingLines, read
from ..record import Format
from ..samples import Dataset, Split

FILES = (
    *("ratings.csv", "ratings.tsv", "u.data", "rating.csv", "ratings.dat", "user_artists.dat"),
    *("interactions.csv", "interactions.tsv", "ratings.jsonl", "ratings.parquet"),
)
#: lists of items with their titles in the second column: name, encoding, delimiter
TITLES = (
    ("movies.csv", "utf-8", ","),
    ("movie.csv", "utf-8", ","),
    ("movies.dat", "latin-1", "::"),
    ("u.item", "latin-1", "|"),
    ("artists.dat", "utf-8", "\t"),
)
_TITLE_NAMES = tuple(name for name, _, _ in TITLES)
#: files that may be ratings where a folder holds one alone
_SUFFIXES = (".csv", ".tsv", ".dat", ".data", ".inter", ".parquet", *JSON_SUFFIXES)
#: of so few candidates nearly all would be among the first ten
FEWEST_CANDIDATES = 21


@dataclass(frozen=True)
class Keys:
    """The keys of [data] that ratings have beside the common ones."""

    histories: bool = data_keys.option(
        True, "whether bundles hold what every user has, so that it is not recommended again"
    )


def open(spec: recipe.Data) -> Dataset:
    """The ratings at `spec.path`, a file or the folder that holds one.

    Raises `DataError` naming file and line of what is wrong, `RecipeError` for a wrong key of `data.columns`.
    """
    path = _find(spec.path)
    lines = read(path, spec)
    histories, users, items, notes = _histories(path, lines, spec)
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
    unranked = np.full((learned, 3), -1, np.int64)  # training rows have several true items
    splits = {"train": Split("train", rows, np.arange(learned), unranked)}
    for which, name in ((1, "val"), (2, "test")):
        splits[name] = Split(name, rows, np.arange(n) + learned + (which - 1) * n, rows.targets(which))

    notes.append(
        f"{len(histories.items)} interactions of {n} users with {len(items)} items; the last of each user is the test"
    )
    facts = {"users": list(rows.users), "items": list(rows.items), "candidates": candidates}

    return Dataset(str(path), titles, splits, [*notes, *title_notes], facts)


def _find(named: str) -> Path:
    """The file of ratings: `named` itself, or the one in the folder."""
    path = Path(named)
    if named and path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
        by_name = {unpacked_name(file).name: file for file in reversed(files)}
        tables = [f for f in files if unpacked_name(f).suffix.lower() in _SUFFIXES and f.name not in _TITLE_NAMES]
        path = next((by_name[name] for name in FILES if name in by_name), tables[0] if len(tables) == 1 else path)

    if not named or not path.is_file():
        problem = "no ratings are given" if not named else "no such file, or a folder without one"
        raise DataError(problem, where=named or "data.path", remedy=f"set data.path to {' or '.join(FILES[:3])}")

    return path


def taken(spec: recipe.Data) -> tuple[dict[str, list[str]], list[str]]:
    """({user: ids of the items they took, in order of time}, notes), be it one user and ever so few items.

    For what a user did after the model was made; raises as `open` does, but wants no number of items.
    """
    path = _find(spec.path)
    lines = read(path, spec)
    user, item, _, again = _ordered(lines)
    notes = [*lines.notes, *([again] if again else [])]
    _judge(path, lines, notes)
    if not len(user):
        raise DataError("holds no ratings", where=str(path), remedy="give lines of user, item, rating and time")

    users, items = list(lines.users), list(lines.items)
    histories: dict[str, list[str]] = {}
    for who, what in zip(user, item):
        histories.setdefault(users[who], []).append(items[what])

    return histories, notes


def _ordered(lines: RatingLines, seed: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """(user, item, line) of each interaction, by user and time, the latest of equal ones; a note of the others.

    Without times the order is that of the file, or drawn by `seed`.
    """
    user, item, line = (np.asarray(column, np.int64) for column in (lines.user, lines.item, lines.line))
    time = np.asarray(lines.time, np.float64)
    if not len(time):
        order_of_lines = np.arange(len(user)) if seed is None else np.random.default_rng(seed).permutation(len(user))
        time = order_of_lines.astype(np.float64)

    order = np.lexsort((time, user))  # stable: equal times stay in the file's order
    user, item, line = user[order], item[order], line[order]
    pairs = user * max(1, len(lines.items)) + item
    latest = np.sort(len(pairs) - 1 - np.unique(pairs[::-1], return_index=True)[1])
    again = len(pairs) - len(latest)
    note = f"{again} lines repeat a user and an item: the latest counts" if again else ""

    return user[latest], item[latest], line[latest], note


def _judge(path: Path, lines: RatingLines, notes: list[str]) -> None:
    """Note the lines that cannot be used; raises `DataError` where they are too many."""
    if lines.bad:
        where, remedy = str(path), "correct or remove these lines"
        left_out.judge([lines.first_bad], len(lines.user), "lines", notes, where=where, remedy=remedy, count=lines.bad)


def _histories(path: Path, lines: RatingLines, spec: recipe.Data) -> tuple[Histories, list[str], list[str], list[str]]:
    """(interactions by user and time, ids of users, ids of items, notes); users and items without any are gone."""
    notes = list(lines.notes)
    _judge(path, lines, notes)
    if not len(lines.user):
        raise DataError("holds no ratings", where=str(path), remedy="give lines of user, item, rating and time")

    if not len(lines.time):
        notes.append(
            f"{path}: has no column of times (data.columns.time names one): the two interactions of each user that "
            f"are held out are drawn with data.split_seed = {spec.split_seed}, and are not the latest"
        )

    user, item, line, again = _ordered(lines, spec.split_seed)
    notes += [again] if again else []
    counts = np.bincount(user, minlength=len(lines.users))
    least = max(spec.min_interactions, HELD + 1)
    short = (counts < least)[user]

    if short.any():
        few = int(((counts > 0) & (counts < least)).sum())
        notes.append(
            f"{few} of {len(lines.users)} user(s) have fewer than {least} interactions and are left out with "
            f"{int(short.sum())} of {len(user)} interactions, the first: {path}:{int(line[short].min())}; one is held "
            "out for validation and one for the test"
        )

    if short.all():
        raise DataError(
            f"no user has {least} interactions or more: one is held out for validation and one for the test",
            where=f"{path}:{int(line.min())}",
            remedy="give more interactions of each user, or lower data.min_interactions",
        )

    user, item, line = user[~short], item[~short], line[~short]
    kept_users, user = np.unique(user, return_inverse=True)
    kept_items, item = np.unique(item, return_inverse=True)
    users, items = list(lines.users), list(lines.items)
    starts = np.concatenate([[0], np.cumsum(np.bincount(user))])
    histories = Histories(starts, item.astype(np.int32), line, len(kept_items))

    return histories, [users[k] for k in kept_users], [items[k] for k in kept_items], notes


def _titles(path: Path, items: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """(a name for each item, none twice, notes): titles where they are known, else ids."""
    beside, encoding, delimiter = next(
        (
            (path.parent / name, encoding, delimiter)
            for name, encoding, delimiter in TITLES
            if (path.parent / name).is_file()
        ),
        (None, "", ""),
    )
    known: dict[str, str] = {}
    if beside is None:
        return _unique(items, items), []

    form = parted(delimiter, "auto", encoding)
    with opened(beside) as file:
        for line in Lines(file, encoding):
            try:
                fields = fields_of(line, form)
            except csv.Error:
                continue
            if len(fields) > 1 and fields[1].strip():
                known[fields[0].strip()] = "".join(c if c.isprintable() else " " for c in fields[1].strip())

    names = [known.get(item, item) for item in items]
    without = sum(item not in known for item in items)
    return _unique(names, items), [f"{without} items have no title in {beside.name}"] if known and without else []


def _unique(names: list[str], items: list[str]) -> tuple[str, ...]:
    """The names, with the id behind those that occur twice."""
    count_of: dict[str, int] = {}
    for name in names:
        count_of[name] = count_of.get(name, 0) + 1
    return tuple(name if count_of[name] == 1 else f"{name} [{item}]" for name, item in zip(names, items))


FORMAT = Format(
    name="ratings",
    description="Which user took which item and when: MovieLens, Last.FM, Amazon reviews and others.",
    open=open,
    keys=("path", "split_seed", "columns", "min_interactions", "delimiter", "encoding", "quoting", "header"),
    recognize=recognize.ratings,
    options=Keys,
    wants="--format ratings --set data.columns.user=NAME --set data.columns.item=NAME say which hold users and items",
)
