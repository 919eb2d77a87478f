"""Recorded episodes as arrays, from the files in which they are exchanged.

    .npz                   `obs` and `acts` (the package `imitation`), or `observations` and `actions` (D4RL)
    .hdf5                  D4RL: datasets of those names; Minari: a group an episode (extra "hdf5")
    a folder of LeRobot    meta/info.json and data/*/*.parquet with observation.state, action, episode_index (extra
                           "parquet"); pictures in videos/ are not read

Every reader returns {"obs", "acts" and what marks the episodes}.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from ..core import strict_json
from ..core.errors import DataError, nearest, need
from . import columnar
from .formats.npz import archive_of, member

OBSERVATIONS = ("obs", "observations", "observation", "states")
ACTIONS = ("acts", "actions", "action")
#: keys that say where an episode begins
STARTS = ("indices", "episode_starts")
#: flags of the last step of an episode; it ends where any of them is set
LASTS = ("dones", "done", "terminals", "terminations", "timeouts", "truncations", "truncated")
#: the number of each step's episode
NUMBERS = ("episode", "episodes", "episode_id", "episode_ids", "episode_index", "traj_id", "trajectory_id")
HDF5 = (".hdf5", ".h5", ".hdf")
#: bytes of the arrays of one recording
MAX_BYTES = 1 << 33


def file_of(path: Path) -> Path | None:
    """The HDF5 file in a folder of Minari, or None."""
    candidates = (path / "main_data.hdf5", path / "data" / "main_data.hdf5")
    return next((file for file in candidates if file.is_file()), None)


def arrays_of(path: Path, notes: list[str]) -> dict[str, np.ndarray]:
    """The arrays of a recording; raises `DataError` naming file and key, `Missing` where a package is absent."""
    if path.is_dir():
        return _lerobot(path, notes)
    return _hdf5(path, notes) if path.suffix.lower() in HDF5 else _npz(path)


def _named(keys: list[str], where: str) -> dict[str, str]:
    """{"obs", "acts" and marks: the file's own name}."""
    names = {}
    for key, known in (("obs", OBSERVATIONS), ("acts", ACTIONS)):
        name = next((name for name in known if name in keys), None)
        if name is None:
            raise DataError(f"has no {key}", where=where, remedy=f"expected {', '.join(known)}; {nearest(key, keys)}")
        names[key] = name

    marks = {key: key for key in (*STARTS, *LASTS) if key in keys}
    numbers = next((name for name in NUMBERS if name in keys), None)
    return names | (marks or ({"episode": numbers} if numbers else {}))


def _parted(arrays: dict[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """Numbers of episodes as the `indices` at which a next one begins."""
    if "episode" not in arrays:
        return arrays
    numbers = arrays.pop("episode").reshape(-1)
    if len(numbers) != len(arrays["acts"]):
        problem = f"{len(numbers)} numbers of episodes do not fit {len(arrays['acts'])} actions"
        raise DataError(problem, where=where, remedy="give the number of each action's episode, or leave them out")
    starts = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    return arrays | {"indices": starts.astype(np.int64)} if len(starts) else arrays


def _npz(path: Path) -> dict[str, np.ndarray]:
    with archive_of(path) as archive:
        names = _named([name[:-4] for name in archive.namelist() if name.endswith(".npy")], str(path))
        return _parted({key: member(path, archive, name) for key, name in names.items()}, str(path))


def _hdf5(path: Path, notes: list[str]) -> dict[str, np.ndarray]:
    library = need("h5py", "hdf5")
    try:
        with library.File(path, "r") as file:
            episodes = sorted(
                (name for name in file if re.fullmatch(r"episode_\d+", name)), key=lambda name: int(name[8:])
            )
            if episodes:
                return _joined(path, [(name, _datasets(library, path, file[name], name)) for name in episodes], notes)
            return _datasets(library, path, file, "")
    except (OSError, KeyError, RuntimeError, TypeError) as error:
        raise DataError(
            f"is not a readable HDF5 file ({error})", where=str(path), remedy="copy it again; it may be cut short"
        ) from error


def _datasets(library: Any, path: Path, group: Any, name: str) -> dict[str, np.ndarray]:
    where = f"{path}[{name}]" if name else str(path)
    names = _named(list(group), where)
    arrays = {}

    for key, own_name in names.items():
        values = group[own_name]
        if not isinstance(values, library.Dataset):
            raise DataError(
                f"{own_name} is a group of {', '.join(list(values)[:5])}: observations and actions of several parts "
                "are not read",
                where=where,
                remedy="join them to one array a step",
            )
        if values.dtype.kind not in "iufb":
            raise DataError(f"{own_name} holds {values.dtype} values, expected numbers", where=where)
        if values.nbytes > MAX_BYTES:
            raise DataError(f"{own_name} has {values.nbytes} bytes, more than {MAX_BYTES}", where=where)
        arrays[key] = np.asarray(values)

    return _parted(arrays, where)


def _joined(path: Path, episodes: list[tuple[str, dict[str, np.ndarray]]], notes: list[str]) -> dict[str, np.ndarray]:
    """Episodes one after another; an observation after the last action, which Minari stores, is left out."""
    observations: list[np.ndarray] = []
    actions: list[np.ndarray] = []
    starts: list[int] = []
    steps = 0

    for name, arrays in episodes:
        count = len(arrays["acts"])
        if not count or len(arrays["obs"]) not in (count, count + 1):
            problem = f"{len(arrays['obs'])} observations do not fit {count} actions"
            raise DataError(problem, where=f"{path}[{name}]", remedy="leave out this episode")
        if starts and arrays["obs"].shape[1:] != observations[0].shape[1:]:
            raise DataError(
                f"observations have shape {arrays['obs'].shape[1:]}, those before {observations[0].shape[1:]}",
                where=f"{path}[{name}]",
            )

        starts.append(steps)
        observations.append(arrays["obs"][:count])
        actions.append(arrays["acts"])
        steps += count

    notes.append(f"{path}: {len(episodes)} episodes")
    joined = {"obs": np.concatenate(observations), "acts": np.concatenate(actions)}
    return joined | {"indices": np.asarray(starts[1:], np.int64)}


def is_lerobot(path: Path) -> bool:
    return (path / "meta" / "info.json").is_file()


def _lerobot(path: Path, notes: list[str]) -> dict[str, np.ndarray]:
    try:
        info = strict_json.loads((path / "meta" / "info.json").read_text(encoding="utf-8"))
        features = [str(name) for name in info.get("features", {})]
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"is not readable ({error})", where=str(path / "meta" / "info.json")) from error

    files = sorted(path.glob("data/**/*.parquet"))
    if not files:
        raise DataError("holds no data/*/*.parquet", where=str(path))

    columns = ("observation.state", "action", "episode_index")
    observations, actions, episode = [], [], []
    for file in files:
        names = columnar.parquet_columns(file)
        for column in columns:
            if column not in names:
                raise DataError(f"has no column {column!r}", where=str(file), remedy=nearest(column, names))

        for number, row in columnar.parquet_rows(file, columns):
            state, action = (_vector(row[column], f"{file}:{number}", column) for column in columns[:2])
            observations.append(state)
            actions.append(action)
            episode.append(row["episode_index"])

    pictures = [name for name in features if name.startswith("observation.image")]
    if pictures:
        notes.append(f"{path}: {', '.join(pictures)} are not read: the observations are observation.state alone")

    starts = np.flatnonzero(np.diff(np.asarray(episode))) + 1
    stacked = _stacked(observations, f"{path}[observation.state]"), _stacked(actions, f"{path}[action]")
    return {"obs": stacked[0], "acts": stacked[1], "indices": starts.astype(np.int64)}


def _vector(value: Any, where: str, column: str) -> np.ndarray:
    try:
        values = np.asarray(value if value is not None else (), np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise DataError(f"{column} is no list of numbers ({error})", where=where) from error

    if not len(values):
        raise DataError(f"{column} has no values", where=where)

    return values


def _stacked(rows: list[np.ndarray], where: str) -> np.ndarray:
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise DataError(f"has rows of {sorted(widths)} values", where=where, remedy="give as many values in each step")
    return np.stack(rows)
