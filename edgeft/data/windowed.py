"""Splits of pictures that a model sees in windows: each window is a sample, its target the part that it decides."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..inputs import mask, windows
from ..inputs.windows import Window
from ..tasks import Task
from .samples import Dataset, Split

#: windows of a split that is judged, spread evenly: the outputs of all of them are held in memory
MOST = 1000
#: masks that are kept decoded: the windows of a picture follow each other
_KEPT = 4
_decoded: OrderedDict[str, np.ndarray] = OrderedDict()


@dataclass(frozen=True)
class WindowMask(mask.StoredMask):
    """The mask of one window, uint8 of `size`: void where another window decides, or where there is no picture."""

    whole: mask.StoredMask
    window: Window
    size: tuple[int, int]
    picture: tuple[int, int]

    @property
    def path(self) -> str:  # type: ignore[override]
        return self.whole.path

    def renumbered(self, numbers: np.ndarray) -> WindowMask:
        return dataclasses.replace(self, whole=self.whole.renumbered(numbers))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return _part(_whole(self.whole), self.window, self.size, self.picture).astype(dtype or np.uint8, copy=False)


def _whole(target: mask.StoredMask) -> np.ndarray:
    key = repr(target)
    if key not in _decoded:
        _decoded[key] = np.asarray(target)
        if len(_decoded) > _KEPT:
            _decoded.popitem(last=False)
    return _decoded[key]


def _part(truth: np.ndarray, window: Window, size: tuple[int, int], picture: tuple[int, int]) -> np.ndarray:
    fitted = truth if truth.shape == picture else mask.nearest(truth, picture)
    part = np.full(size, mask.VOID, np.uint8)
    part[windows.decided(window)] = fitted[slice(*window.rows), slice(*window.columns)]
    return part


class Windows:
    """A pool of the windows of the pictures of a split; `whole` is that split."""

    def __init__(
        self, whole: Split, places: list[tuple[int, Window]], size: tuple[int, int], sides: np.ndarray
    ) -> None:
        #: (position in `whole`, window), and height and width of each picture, int64 (N, 2)
        self.whole, self.places, self.size, self.sides = whole, places, size, sides
        self._last: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def raw(self, i: int) -> np.ndarray:
        at, window = self.places[i]
        if self._last is None or self._last[0] != at:
            self._last = at, self.whole.raw(at)
        return windows.cut(self._last[1], window, self.size)

    def source(self, i: int) -> str:
        at, window = self.places[i]
        return f"{self.whole.source(at)} from row {window.top}, column {window.left}"

    def group(self, i: int) -> str:
        return self.whole.source(self.places[i][0])


def windowed(split: Split, task: Task, spec: Mapping[str, Any], notes: list[str] | None = None) -> Split:
    """`split` with every window of its pictures as a sample, where the task's model sees windows; else `split` itself.

    Of a split that is judged (not "train") at most `MOST` are taken, spread evenly, which `notes` then says. Reads
    every picture once.
    """
    if task.windows_of is None or spec.get("kind") != windows.KIND:
        return split

    sides = np.array([split.raw(i).shape[:2] for i in range(len(split))], np.int64).reshape(-1, 2)
    size = (int(spec["size"][0]), int(spec["size"][1]))
    places = [(i, w) for i, (height, width) in enumerate(sides) for w in task.windows_of(int(height), int(width), spec)]
    said = f"{split.name}: {len(split)} pictures are seen in {len(places)} windows"

    if split.name != "train" and len(places) > MOST:
        places = [places[i] for i in np.linspace(0, len(places) - 1, MOST).astype(int)]
        said += f", of which {MOST}, spread evenly, are judged"
    if notes is not None and said not in notes:
        notes.append(said)

    targets = np.empty(len(places), object)
    for k, (i, window) in enumerate(places):
        truth, picture = split.targets[i], (int(sides[i, 0]), int(sides[i, 1]))
        stored = isinstance(truth, mask.StoredMask)
        targets[k] = (
            WindowMask(truth, window, size, picture) if stored else _part(np.asarray(truth), window, size, picture)
        )

    return Split(split.name, Windows(split, places, size, sides), np.arange(len(places)), targets)


def windowed_data(dataset: Dataset, task: Task, spec: Mapping[str, Any]) -> Dataset:
    """`dataset` with the splits of `windowed`; its fingerprint stays that of the data themselves."""
    if task.windows_of is None or spec.get("kind") != windows.KIND:
        return dataset
    splits = _Windowed(dataset.splits, task, spec, dataset.notes)
    return dataclasses.replace(dataset, splits=splits, original=dataset.original or dataset)


def pictures_of(split: Any) -> tuple[Split, np.ndarray] | None:
    """The pictures that the windows of a split come from, with their heights and widths int64 (N, 2); None where the
    samples of `split` are no windows."""
    pool = getattr(split, "pool", None)
    if not isinstance(pool, Windows):
        return None
    at = np.unique([pool.places[int(i)][0] for i in split.indices]).astype(np.int64)
    return pool.whole.subset(at), pool.sides[at]


class _Windowed(Mapping[str, Split]):
    def __init__(self, splits: Mapping[str, Split], task: Task, spec: Mapping[str, Any], notes: list[str]) -> None:
        self._splits, self._task, self._spec, self._notes = splits, task, spec, notes
        self._done: dict[str, Split] = {}

    def __getitem__(self, name: str) -> Split:
        if name not in self._done:
            self._done[name] = windowed(self._splits[name], self._task, self._spec, self._notes)
        return self._done[name]

    def __contains__(self, name: object) -> bool:
        return name in self._splits

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __len__(self) -> int:
        return len(self._splits)
