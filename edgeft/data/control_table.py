"""Recorded control in delimited text: a row a step, columns of observations and of actions (`control_columns.py`).

A file is a recording, a folder has a file for each of several. Where a column numbers episodes, or flags their last
steps, they are divided there; else each file of a folder is an episode. A column that names pictures (the log of
Udacity's simulator) gives the observations as files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import recipe
from ..core.errors import DataError
from ..inputs import number_text
from ..inputs.column_summary import is_missing
from . import left_out
from .control_columns import Keys, Roles, roles_of
from .delimited import READ_ERRORS, opened, unpacked_name
from .episodes import ACTIONS
from .recognize import PICTURES
from .samples import split_named
from .sniff import examine

SUFFIXES = (".csv", ".tsv")
_FLAGS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}


@dataclass(frozen=True)
class Recording:
    """A table's `arrays` ({"obs", "acts", and what parts the episodes}), the names of its actions, and its pictures.

    With `pictures` (a file a step) "obs" is absent.
    """

    arrays: dict[str, np.ndarray]
    actions: tuple[str, ...]
    pictures: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _Steps:
    names: tuple[str, ...]
    roles: Roles
    rows: list[list[str]]
    lines: list[str]


def files_of(path: Path) -> list[Path]:
    """The tables at a path: the file, or those of a folder."""
    if not path.is_dir():
        return [path] if unpacked_name(path).suffix.lower() in SUFFIXES else []
    files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
    return [file for file in files if unpacked_name(file).suffix.lower() in SUFFIXES]


def read(path: Path, spec: recipe.Data, notes: list[str]) -> Recording:
    """The recording at a path. Raises `DataError` naming file and line, or the columns whose roles are unknown."""
    files, keys = files_of(path), spec.options if isinstance(spec.options, Keys) else Keys()
    if named := [file.name for file in files if split_named(unpacked_name(file).stem)] if len(files) > 1 else []:
        raise DataError(
            f"{', '.join(named)} are named after splits, but a recording is divided here, by whole episodes",
            where=str(path),
            remedy="join them to one table with a column `episode`; data.split sets the shares",
        )

    tables = [_steps(file, spec, keys, notes) for file in files]
    first = tables[0]
    for file, table in zip(files, tables):
        if table.names != first.names:
            raise DataError(
                f"has the columns {', '.join(table.names[:8])}, {files[0].name} has {', '.join(first.names[:8])}",
                where=str(file),
                remedy="give each file the same columns in the same order",
            )

    rows = [row for table in tables for row in table.rows]
    lines = [line for table in tables for line in table.lines]
    roles, picture = first.roles, _column_of_pictures(rows, first.roles.observations)
    roles = dataclasses.replace(roles, observations=(picture,)) if picture >= 0 else roles
    notes.append(_chosen(first.names, roles, str(path)))

    arrays = {"acts": _numbers(rows, lines, roles.actions, first.names), **_borders(tables, roles)}
    pictures = _pictures(files, tables, picture) if picture >= 0 else ()
    if picture < 0:
        arrays["obs"] = _numbers(rows, lines, roles.observations, first.names).astype(np.float32)

    return Recording(arrays, tuple(first.names[at] for at in roles.actions), pictures)


def _steps(path: Path, spec: recipe.Data, keys: Keys, notes: list[str]) -> _Steps:
    """The rows of a file that have all values which are needed; the others are left out, a few of them."""
    asked = [*keys.observation_columns, *keys.action_columns, *filter(None, [keys.episode_column])]
    rows, lines, bad, first = [], [], 0, ""
    try:
        table = examine(path, spec, [(name,) for name in asked] or [ACTIONS])
        notes += table.notes
        roles = roles_of(table.names, keys, str(path))
        needed = (*roles.observations, *roles.actions)
        with opened(path) as file:
            for entry in table.records(file):
                if not entry.fields and not entry.problem:
                    continue
                problem = entry.fault(len(table.names))
                gaps = [] if problem else [table.names[at] for at in needed if is_missing(entry.fields[at])]
                problem = problem or (f"{gaps[0]!r} has no value" if gaps else "")
                if problem:
                    bad, first = bad + 1, first or f"{path}:{entry.first}: {problem}"
                    continue
                rows.append([field.strip() for field in entry.fields])
                lines.append(f"{path}:{entry.first}")
    except READ_ERRORS as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from error

    remedy = "correct these steps, or name other columns (data.observation_columns, data.action_columns)"
    left_out.judge([first] if bad else [], len(rows), "steps", notes, where=str(path), remedy=remedy, count=bad)
    return _Steps(table.names, roles, rows, lines)


def _chosen(names: Sequence[str], roles: Roles, where: str) -> str:
    """Which columns are what, and which are not read."""
    used = {*roles.observations, *roles.actions, roles.episode, *roles.lasts}
    parts = [
        f"observations are {_listed([names[at] for at in roles.observations])}",
        f"actions {_listed([names[at] for at in roles.actions])}",
    ]
    if roles.episode >= 0:
        parts.append(f"episodes {names[roles.episode]!r}")

    others = [name for at, name in enumerate(names) if at not in used]
    left = f"; not read: {_listed(others)}" if others else ""
    return f"{where}: {', '.join(parts)}{left} (data.observation_columns and data.action_columns name others)"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:12])) + (f" and {len(names) - 12} more" if names[12:] else "")


def _numbers(
    rows: Sequence[Sequence[str]], lines: Sequence[str], at: Sequence[int], names: Sequence[str]
) -> np.ndarray:
    """The columns `at` as float64 (T, K), int64 where every value is written as a whole number; one column is (T,)."""
    columns = []
    for place in at:
        values = [row[place] for row in rows]
        written = number_text.notation(values)
        numbers = [_FLAGS.get(value.lower(), number_text.number(value, written)) for value in values]
        bad = next((i for i, value in enumerate(numbers) if value is None), -1)
        if bad >= 0:
            raise DataError(
                f"{names[place]!r} is {values[bad]!r}, expected a number",
                where=lines[bad],
                remedy="correct the line, or name the columns of numbers (data.observation_columns, "
                "data.action_columns)",
            )
        whole = all(value.lstrip("+-").isdigit() for value in values)
        columns.append(np.array(numbers, np.int64 if whole else np.float64))

    stacked = np.stack(columns, axis=1)
    return stacked if len(at) > 1 else stacked[:, 0]


def _column_of_pictures(rows: Sequence[Sequence[str]], at: Sequence[int]) -> int:
    """The first of the columns `at` that names a picture in every row, -1 where none does."""
    kinds = tuple(PICTURES)
    return next((place for place in at if all(row[place].lower().endswith(kinds) for row in rows)), -1)


def _pictures(files: Sequence[Path], tables: Sequence[_Steps], at: int) -> tuple[Path, ...]:
    """The file of each step, which column `at` names: beside the table, by as much of the path as is there."""
    pictures = []
    for file, table in zip(files, tables):
        for row, line in zip(table.rows, table.lines):
            parts = row[at].replace("\\", "/").split("/")
            places = [file.parent.joinpath(*parts[start:]) for start in range(len(parts)) if parts[start]]
            place = next((place for place in places if place.is_file()), None)
            if place is None:
                raise DataError(
                    f"names {row[at]!r}, which is not there",
                    where=line,
                    remedy=f"put the pictures beside {file.name}, in the folder that the table names",
                )
            pictures.append(place)

    return tuple(pictures)


def _borders(tables: Sequence[_Steps], roles: Roles) -> dict[str, np.ndarray]:
    """What parts the episodes: numbers that change, flags of last steps, or the end of a file."""
    if roles.episode >= 0:
        numbers = [f"{number}/{row[roles.episode]}" for number, table in enumerate(tables) for row in table.rows]
        starts = [at for at in range(1, len(numbers)) if numbers[at] != numbers[at - 1]]
    elif roles.lasts:
        starts, steps = [], 0
        for table in tables:
            flags = _numbers(table.rows, table.lines, roles.lasts, table.names).reshape(len(table.rows), -1)
            starts += [steps + int(at) + 1 for at in np.flatnonzero(flags.any(axis=1))]
            steps += len(table.rows)
            starts.append(steps)
        starts = sorted({at for at in starts if at < steps})
    elif len(tables) > 1:
        starts = np.cumsum([len(table.rows) for table in tables])[:-1].tolist()
    else:
        return {}

    return {"indices": np.asarray(starts, np.int64)} if starts else {}
