"""Recorded control, for behaviour cloning: the observations of each step, and the actions that followed.

A recording of episodes (`episodes.py`: .npz, HDF5 of D4RL or Minari, a folder of LeRobot): observations float (T, K)
or uint8 (T, H, W[, C]) (stacks of frames: `frame_stacks.py`), actions (T,) or (T, A), and where one episode ends and
the next begins: `indices` int (E-1,) as the package `imitation` writes them, `episode_starts` bool (T,), or flags of
the last step of an episode, bool (T,): `dones`, `terminals`, `timeouts` and the like, any of which ends it, or the
number of each step's `episode`. Or a table with a row a step (`control_table.py`), or a folder that is a Donkeycar
tub or holds several (`tubs.py`).

Whole episodes go to one split; a tub is one drive, so it is divided into stretches of time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...config import recipe
from ...core.errors import DataError
from ...inputs import image
from .. import control_table, episodes, recognize_control, tubs
from ..control_columns import Keys
from ..episodes import LASTS, STARTS
from ..frame_stacks import Layout, layout
from ..record import Format
from ..samples import NAMES, WHOLE, Dataset, Split, fractions, grouped, require_classes
from ..tubs import STRETCH

#: rows that are looked at together
_BLOCK = 4096
#: so few different whole numbers may be choices
MOST_CHOICES = 32
#: pictures that are files
CAMERA = Layout("image", 3)
#: choices that actions may be numbers of
MOST_ACTIONS = 1024


class Steps:
    """Observations as the file has them: mapped where they are stored uncompressed. `rows` are those acted on (T,).

    `pictures` says how they are pictures; None where they are numbers.
    """

    def __init__(self, path: str, observations: np.ndarray, rows: np.ndarray, pictures: Layout | None) -> None:
        self.path, self.seen, self.rows, self.pictures = path, observations, rows, pictures

    def __len__(self) -> int:
        return len(self.rows)

    def raw(self, i: int) -> np.ndarray:
        observation = np.array(self.seen[self.rows[i]])
        return self.pictures.arrange(observation) if self.pictures else observation.astype(np.float32).reshape(-1)

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
        if episodes.is_lerobot(path):
            return _episodes(path, spec)
        path = episodes.file_of(path) or path

    if spec.path and path.exists() and control_table.files_of(path) and not tubs.is_tub(path):
        return _table(path, spec)

    if spec.path and path.is_dir():
        notes: list[str] = []
        drives = tubs.read(path, notes)
        frames, labels = Frames(drives.files), tuple(tubs.CONTROLS.values())
        dataset = _dataset(str(path), labels, frames, drives.controls, drives.stretch, spec, CAMERA)
        dataset.notes.extend(notes)
        return dataset

    if not spec.path or not path.is_file():
        problem = "no recording is given" if not spec.path else "no such file or folder"
        raise DataError(
            problem, where=spec.path or "data.path", remedy="set data.path to episodes (.npz, .hdf5, .csv) or a tub"
        )

    return _episodes(path, spec)


def _table(path: Path, spec: recipe.Data) -> Dataset:
    """A recording in a .csv, or a folder of them."""
    notes: list[str] = []
    recording = control_table.read(path, spec, notes)
    if not recording.pictures:
        return _recorded(path, recording.arrays, spec, notes, recording.actions)

    notes += _judge_actions(recording.arrays["acts"], spec, str(path))
    done, labels = _controls(recording.arrays["acts"], spec, str(path), recording.actions)
    frames = Frames(list(recording.pictures))
    episode, _ = _numbered({**recording.arrays, "obs": np.zeros(len(done))}, len(done), str(path), notes)
    dataset = _dataset(str(path), labels, frames, done, episode, spec, CAMERA)
    dataset.notes.extend(notes)
    return dataset


def _episodes(path: Path, spec: recipe.Data) -> Dataset:
    notes: list[str] = []
    return _recorded(path, episodes.arrays_of(path, notes), spec, notes)


def _recorded(
    path: Path, arrays: dict[str, np.ndarray], spec: recipe.Data, notes: list[str], names: tuple[str, ...] = ()
) -> Dataset:
    for key, array in arrays.items():
        where = f"{path}[{key}]"
        if array.dtype.kind not in ("iufb" if key in ("obs", "acts") else "iub"):
            raise DataError(f"holds {array.dtype} values, expected numbers", where=where, remedy="store plain numbers")
        if array.ndim == 0 or (array.size == 0 and key != "indices"):
            raise DataError(
                f"has shape {array.shape}, expected one entry a step", where=where, remedy="record at least one step"
            )

    notes += _judge_actions(arrays["acts"], spec, f"{path}[acts]")
    done = np.asarray(arrays["acts"], np.float32).reshape(len(arrays["acts"]), -1)
    episode, rows = _numbered(arrays, len(done), str(path), notes)
    observations = arrays["obs"]
    pictures = None
    if observations.dtype == np.uint8 and observations.ndim >= 3:
        pictures = layout(observations, f"{path}[obs]")
        notes += [pictures.note] if pictures.note else []

    for key, values in (("acts", done), *(() if pictures else (("obs", observations),))):
        bad = _first_bad(values)
        if bad is not None:
            raise DataError(
                f"{key} holds values that are not finite",
                where=f"{path}[{key}][{bad}]",
                remedy="leave out that step or its episode",
            )

    done, labels = _controls(arrays["acts"], spec, f"{path}[acts]", names)
    pool = Steps(str(path), observations, rows, pictures)
    recording = _dataset(str(path), labels, pool, done, episode, spec, pictures)
    recording.notes.extend(notes)
    return recording


def _controls(
    acts: np.ndarray, spec: recipe.Data, where: str, names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Targets of recorded actions, float32 (T, A) or numbers of choices int64 (T,), and the label of each output."""
    done = np.asarray(acts, np.float32).reshape(len(acts), -1)
    if spec.actions == "discrete":
        chosen = _choices(done, where)
        return chosen, tuple(map(str, range(int(chosen.max()) + 1)))

    count = done.shape[1]
    return done, names or (tuple(f"action_{i}" for i in range(count)) if count > 1 else ("action",))


def _choices(acts: np.ndarray, where: str) -> np.ndarray:
    """Numbers of choices int64 (T,) from 0 on, of recorded actions (T, A); raises `DataError` for other values."""
    if acts.shape[1] != 1:
        raise DataError(
            f"has {acts.shape[1]} actions a step: choices of several kinds at once are refused",
            where=where,
            remedy="number their combinations from 0 on, or record one kind of choice",
        )

    wrong = np.flatnonzero((acts[:, 0] != np.round(acts[:, 0])) | (acts[:, 0] < 0) | (acts[:, 0] >= MOST_ACTIONS))
    if len(wrong):
        raise DataError(
            f"is {acts[wrong[0], 0]:g}, expected the number of a choice, 0 to {MOST_ACTIONS - 1}",
            where=f"{where}[{wrong[0]}]",
            remedy='number the choices from 0 on, or set data.actions = "continuous"',
        )

    return acts[:, 0].astype(np.int64)


def _judge_actions(acts: np.ndarray, spec: recipe.Data, where: str) -> list[str]:
    """Refuse actions that may be numbers of choices, which no mean of them is; a note of whole numbers stored as float.

    With `data.actions` "continuous" or "discrete" they are what the recipe says, whatever their type.
    """
    if spec.actions != "auto" or not acts.size:
        return []

    if acts.dtype.kind in "iub":
        shown = f"{int(acts.min())} to {int(acts.max())}"
        raise DataError(
            f"actions are {acts.dtype} values, {shown}: numbers of choices, between which nothing lies, cannot be "
            "learned as quantities",
            where=where,
            remedy='set task = "control-discrete" and data.actions = "discrete"; where they are quantities, set '
            'data.actions = "continuous"',
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


def _dataset(
    name: str,
    labels: tuple[str, ...],
    pool: Steps | Frames,
    done: np.ndarray,
    groups: np.ndarray,
    spec: recipe.Data,
    pictures: Layout | None,
) -> Dataset:
    undivided = tuple(spec.split) == WHOLE
    parts = [np.arange(len(done))] if undivided else grouped(groups, fractions(spec.split), spec.split_seed, name)
    splits = {part: Split(part, pool, at, done[at]) for part, at in zip(NAMES, parts)}
    facts: dict[str, Any] = {"kind": pictures.kind if pictures else "vector"}
    if pictures and pictures.kind == "frames":
        facts["channels"] = pictures.channels

    if not pictures and isinstance(pool, Steps):
        rows = np.asarray(pool.seen[pool.rows[parts[0]]], np.float64).reshape(len(parts[0]), -1)
        facts |= {"inputs": rows.shape[1], "mean": rows.mean(axis=0).tolist(), "std": rows.std(axis=0).tolist()}

    count = len(np.unique(groups))
    divided = "" if undivided else f", divided whole with seed {spec.split_seed}"
    note = f"{len(done)} steps in {count} stretches or episodes{divided}"
    warnings = require_classes(splits, labels, name, spec.split) if done.ndim == 1 else []

    return Dataset(name, labels, splits, [note, *warnings], facts)


FORMAT = Format(
    name="trajectories",
    description="Recorded control: episodes (.npz, HDF5 of D4RL and Minari, LeRobot, .csv), or Donkeycar tubs.",
    open=open,
    keys=("path", "split", "split_seed", "actions", "delimiter", "encoding", "quoting", "header"),
    options=Keys,
    recognize=recognize_control.trajectories,
)
