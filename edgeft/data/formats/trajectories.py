"""Recorded control, for behaviour cloning: what was seen, and what was done.

An .npz of episodes: `obs` float (T, K) or uint8 (T, H, W[, C]), `acts` (T,) or (T, A), and where one episode ends and
the next begins: `indices` int (E-1,) as the package `imitation` writes them, `episode_starts` bool (T,), or flags of
the last step of an episode, bool (T,): `dones`, `terminals`, `timeouts` and the like, any of which ends it. Or a folder
that is a Donkeycar tub (version 2): catalogs of JSON lines with a picture, `user/angle` and `user/throttle`.

Whole episodes go to one split; a tub is one drive, so it is divided into stretches of time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...config import recipe
from ...core.errors import DataError, nearest
from ...inputs import image
from ..record import Format
from ..samples import NAMES, WHOLE, Dataset, Split, fractions, grouped
from .npz import archive_of, member

#: frames of one stretch of a drive: neighbouring frames look alike and must not be told apart by a split
STRETCH = 50
#: a share of unreadable records above this stops the run
MAX_BAD = 0.05
#: keys that say where an episode begins
STARTS = ("indices", "episode_starts")
#: flags of the last step of an episode; it ends where any of them is set
LASTS = ("dones", "done", "terminals", "terminations", "timeouts", "truncations", "truncated")
#: rows that are looked at together
_BLOCK = 4096
CONTROLS = {"user/angle": "steering", "user/throttle": "throttle"}
_PICTURE = "cam/image_array"
#: so few different whole numbers may be choices
MOST_CHOICES = 32


class Steps:
    """Observations as the file has them: mapped where they are stored uncompressed. `rows` are those acted on (T,)."""

    def __init__(self, path: str, observations: np.ndarray, rows: np.ndarray) -> None:
        self.path, self.seen, self.rows = path, observations, rows

    def __len__(self) -> int:
        return len(self.rows)

    def raw(self, i: int) -> np.ndarray:
        observation = np.array(self.seen[self.rows[i]])
        return observation if observation.dtype == np.uint8 else observation.astype(np.float32).reshape(-1)

    def source(self, i: int) -> str:
        return f"{self.path}[obs][{self.rows[i]}]"


class Frames:
    """Pictures of a tub, decoded when they are asked for."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def raw(self, i: int) -> np.ndarray:
        return image.read(self.files[i])

    def source(self, i: int) -> str:
        return str(self.files[i])


def open(spec: recipe.Data) -> Dataset:
    """The recording at `spec.path`; raises `DataError` naming the file and the key or line of what is wrong."""
    path = Path(spec.path)
    if spec.path and path.is_dir():
        return _tub(path, spec)
    if not spec.path or not path.is_file():
        problem = "no recording is given" if not spec.path else "no such file or folder"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to an .npz of episodes or a tub")
    return _episodes(path, spec)


def _episodes(path: Path, spec: recipe.Data) -> Dataset:
    with archive_of(path) as archive:
        keys = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
        for key in ("obs", "acts"):
            if key not in keys:
                raise DataError(f"has no {key}", where=str(path), remedy=nearest(key, keys))
        arrays = {key: member(path, archive, key) for key in ("obs", "acts", *STARTS, *LASTS) if key in keys}
    for key, array in arrays.items():
        where = f"{path}[{key}]"
        if array.dtype.kind not in ("iufb" if key in ("obs", "acts") else "iub"):
            raise DataError(f"holds {array.dtype} values, expected numbers", where=where, remedy="store plain numbers")
        if array.ndim == 0 or (array.size == 0 and key != "indices"):
            raise DataError(
                f"has shape {array.shape}, expected one entry a step", where=where, remedy="record at least one step"
            )
    notes = _judge_actions(arrays["acts"], spec, f"{path}[acts]")
    done = np.asarray(arrays["acts"], np.float32).reshape(len(arrays["acts"]), -1)
    episode, rows = _numbered(arrays, len(done), str(path), notes)
    observations = arrays["obs"]
    picture = observations.dtype == np.uint8
    for key, values in (("acts", done), *(() if picture else (("obs", observations),))):
        bad = _first_bad(values)
        if bad is not None:
            raise DataError(
                f"{key} holds values that are not finite",
                where=f"{path}[{key}][{bad}]",
                remedy="leave out that step or its episode",
            )
    labels = tuple(f"action_{i}" for i in range(done.shape[1])) if done.shape[1] > 1 else ("action",)
    episodes = _dataset(str(path), labels, Steps(str(path), observations, rows), done, episode, spec, picture)
    episodes.notes.extend(notes)
    return episodes


def _judge_actions(acts: np.ndarray, spec: recipe.Data, where: str) -> list[str]:
    """Refuse actions that may be numbers of choices, which no mean of them is; a note of whole numbers stored as float.

    With `data.actions = "continuous"` they are quantities whatever their type.
    """
    if spec.actions == "continuous" or not acts.size:
        return []
    if acts.dtype.kind in "iub":
        shown = f"{int(acts.min())} to {int(acts.max())}"
        raise DataError(
            f"actions are {acts.dtype} values, {shown}: numbers of choices, between which nothing lies, cannot be "
            "learned as quantities",
            where=where,
            remedy='where they are quantities (a speed, an angle), set data.actions = "continuous"',
        )
    values = np.unique(acts[: 1 << 20])
    if len(values) <= MOST_CHOICES and np.isfinite(values).all() and (values == np.round(values)).all():
        return [
            f"{where}: all actions are among {len(values)} whole numbers, {values[0]:g} to {values[-1]:g}; they are "
            'learned as quantities, and a network answers with numbers between them (data.actions = "continuous" '
            "where that is meant)"
        ]
    return []


def _after_lasts(arrays: dict[str, np.ndarray], keys: list[str], where: str, notes: list[str]) -> np.ndarray:
    """The number of each step's episode (T,), by flags of its last step."""
    flags = np.zeros(len(arrays["acts"]), bool)
    for key in keys:
        values = np.asarray(arrays[key]).reshape(-1).astype(bool)
        if len(values) != len(flags):
            raise DataError(f"has {len(values)} flags for {len(flags)} steps", where=f"{where}[{key}]")
        flags |= values
    if flags[0] and not flags[-1] and flags.sum() > 1:
        notes.append(f"{where}[{keys[0]}]: set at the first step and not at the last one: taken for starts of episodes")
        return np.cumsum(flags)
    return np.cumsum(np.concatenate([[False], flags[:-1]]))


def _numbered(arrays: dict[str, np.ndarray], steps: int, where: str, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The episode of each step (T,), and the rows of `obs` that were acted on (an episode may end with one more)."""
    observation_count, rows = len(arrays["obs"]), np.arange(steps)
    if "indices" in arrays:
        starts = np.zeros(steps, np.int64)
        ends = np.asarray(arrays["indices"]).astype(np.int64).reshape(-1)
        if ends.size and (ends.min() < 1 or ends.max() >= steps):
            at = int(np.flatnonzero((ends < 1) | (ends >= steps))[0])
            raise DataError(
                f"is {ends[at]}, but an episode may begin at 1..{steps - 1}",
                where=f"{where}[indices][{at}]",
                remedy="give the first step of every episode but the first",
            )
        starts[ends] = 1
        episode = np.cumsum(starts)
        if observation_count == steps + len(ends) + 1:  # one last observation an episode, after the last action
            rows, observation_count = rows + episode, steps
    elif "episode_starts" in arrays:
        episode = np.cumsum(np.asarray(arrays["episode_starts"]).reshape(-1).astype(bool))
    elif lasts := [key for key in LASTS if key in arrays]:
        episode = _after_lasts(arrays, lasts, where, notes)
    else:
        episode = rows // STRETCH
        expected = ", ".join((*STARTS, *LASTS[:3]))
        notes.append(f"{where}: does not mark where episodes end ({expected}): divided in stretches of {STRETCH} steps")
    if observation_count != steps or len(episode) != steps:
        raise DataError(
            f"{observation_count} observations do not fit {steps} actions",
            where=where,
            remedy="give an observation for each action, and at most one more at the end of every episode of `indices`",
        )
    return episode, rows


def _first_bad(values: np.ndarray) -> int | None:
    """The first row that holds a value which is not finite; looked for block by block, since values may be mapped."""
    if values.dtype.kind != "f":
        return None
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        bad = ~np.isfinite(block).reshape(len(block), -1).all(axis=1)
        if bad.any():
            return start + int(bad.argmax())
    return None


def _tub(path: Path, spec: recipe.Data) -> Dataset:
    catalogs = sorted(
        (p for p in path.glob("*.catalog") if not p.name.startswith(".")), key=lambda p: (len(p.name), p.name)
    )
    if not catalogs:
        raise DataError(
            "is not a Donkeycar tub: it has no .catalog file",
            where=str(path),
            remedy="name the folder with manifest.json",
        )
    deleted = _deleted(path / "manifest.json")
    files, done, bad = [], [], []
    for catalog in catalogs:
        for number, line in enumerate(catalog.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if row.get("_index") in deleted:
                    continue
                picture = path / "images" / Path(str(row[_PICTURE])).name
                values = [float(row[key]) for key in CONTROLS]
                if not np.isfinite(values).all() or not picture.is_file():
                    raise ValueError(
                        "its picture is missing" if np.isfinite(values).all() else "a control is not finite"
                    )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                bad.append(f"{catalog}:{number}: {type(error).__name__}: {error}")
                continue
            files.append(picture)
            done.append(values)
    if len(bad) > MAX_BAD * (len(files) + len(bad)) or not files:
        first = f", the first: {bad[0]}" if bad else ""
        raise DataError(
            f"{len(bad)} of {len(files) + len(bad)} records cannot be used{first}",
            where=str(path),
            remedy="correct or remove these lines, or copy the tub again with its images/",
        )
    stretch = np.arange(len(files)) // STRETCH
    tub = _dataset(
        str(path), tuple(CONTROLS.values()), Frames(files), np.asarray(done, np.float32), stretch, spec, picture=True
    )
    tub.notes.extend([f"{len(bad)} records left out, the first: {bad[0]}"] if bad else [])
    return tub


def _deleted(manifest: Path) -> set[Any]:
    """Records that the driver struck out: the last line of manifest.json lists them."""
    try:
        last = json.loads(manifest.read_text(encoding="utf-8").strip().splitlines()[-1])
        return set(last.get("deleted_indexes", ()))
    except (OSError, ValueError, IndexError, AttributeError, TypeError):
        return set()


def _dataset(
    name: str,
    labels: tuple[str, ...],
    pool: Steps | Frames,
    done: np.ndarray,
    groups: np.ndarray,
    spec: recipe.Data,
    picture: bool,
) -> Dataset:
    undivided = tuple(spec.split) == WHOLE
    parts = [np.arange(len(done))] if undivided else grouped(groups, fractions(spec.split), spec.split_seed, name)
    splits = {part: Split(part, pool, at, done[at]) for part, at in zip(NAMES, parts)}
    facts: dict[str, Any] = {"kind": "image" if picture else "vector"}
    if not picture and isinstance(pool, Steps):
        rows = np.asarray(pool.seen[pool.rows[parts[0]]], np.float64).reshape(len(parts[0]), -1)
        facts |= {"inputs": rows.shape[1], "mean": rows.mean(axis=0).tolist(), "std": rows.std(axis=0).tolist()}
    count = len(np.unique(groups))
    divided = "" if undivided else f", divided whole with seed {spec.split_seed}"
    note = f"{len(done)} steps in {count} stretches or episodes{divided}"
    return Dataset(name, labels, splits, [note], facts)


FORMAT = Format(
    name="trajectories",
    description="Recorded control: an .npz of episodes, or a Donkeycar tub.",
    open=open,
    keys=("path", "split", "split_seed", "actions"),
)
