"""Samples of equal content in data that are divided here: they go to one split, so that no test sample was trained on.

Equality is looked for where it is cheap: texts, rows of a table and short vectors by their content, files by their
bytes (their size and beginning first, the rest where those are equal). Pictures of equal pixels in files of different
bytes stay unknown here; the check for leaks decodes them and tells.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..core.errors import DataError

#: samples above which nothing is compared
MOST = 200_000
_HEAD = 4096


class Samples(Protocol):
    """What is compared: a `Split`."""

    def __len__(self) -> int: ...

    def raw(self, i: int) -> Any: ...

    def source(self, i: int) -> str: ...

    def digest(self, i: int) -> str: ...


def groups(split: Samples) -> np.ndarray | None:
    """The number of each sample's content, int64 (N,); None where all differ, or where that is not cheap to know."""
    if not 1 < len(split) <= MOST:
        return None

    keys = _of_files(split) if os.path.isfile(split.source(0)) else _of_contents(split)
    numbers: dict[Hashable, int] = {}
    content = [numbers.setdefault(key, len(numbers)) for key in keys]
    return np.array(content, np.int64) if 0 < len(numbers) < len(content) else None


def _of_files(split: Samples) -> list[Hashable]:
    """A key for each sample, equal for files of equal bytes."""
    names = [split.source(i) for i in range(len(split))]
    if len(set(names)) < len(names):  # parts of one file differ
        return []
    heads = [_head(name) for name in names]
    count: dict[Hashable, int] = {}
    for head in heads:
        count[head] = count.get(head, 0) + 1
    return [(head, _whole(name) if count[head] > 1 else "") for name, head in zip(names, heads)]


def _head(name: str) -> Hashable:
    try:
        with open(name, "rb") as file:
            return os.fstat(file.fileno()).st_size, file.read(_HEAD)
    except OSError:
        return name


def _whole(name: str) -> str:
    try:
        with open(name, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()
    except OSError:
        return name


def _of_contents(split: Samples) -> list[Hashable]:
    """A key for each sample, equal for equal content; empty where content is no text, row or vector."""
    pool = getattr(split, "pool", None)
    if hasattr(pool, "keys"):
        return list(pool.keys(split.indices))  # type: ignore[attr-defined, union-attr]
    try:
        if not _is_small(split.raw(0)):
            return []
    except DataError:
        return []

    return [_digest(split, i) for i in range(len(split))]


def _is_small(raw: Any) -> bool:
    if isinstance(raw, Mapping):
        return all(np.asarray(value).dtype.kind == "U" for value in raw.values())
    return isinstance(raw, str) or np.ndim(raw) == 1


def _digest(split: Samples, i: int) -> Hashable:
    try:
        return split.digest(i)
    except DataError:
        return i


def joined(positions: Sequence[np.ndarray], content: np.ndarray, classes: np.ndarray) -> tuple[list[np.ndarray], int]:
    """The parts with samples of equal content moved into one of them, and how many samples that were divided is.

    `positions` are those of each part, `content` and `classes` int64 (N,). What is not divided stays where it is. Each
    set of equal samples, the largest first, goes to the part that lacks most samples of its commonest class; where as
    few sets are left as parts lack the class altogether, to one of those.
    """
    part = np.empty(len(content), np.int64)
    part[:] = -1
    for number, at in enumerate(positions):
        part[at] = number

    wanted = np.stack([np.bincount(classes[at], minlength=classes.max() + 1) for at in positions])
    order = np.lexsort((part, content))
    order = order[part[order] >= 0]
    begins = np.flatnonzero(np.r_[True, np.diff(content[order]) > 0])
    sets = [members for members in np.split(order, begins[1:]) if part[members[0]] != part[members[-1]]]
    if not sets:
        return list(positions), 0

    moved = np.concatenate(sets)
    part[moved] = -1
    present = np.stack([np.bincount(classes[part == k], minlength=wanted.shape[1]) for k in range(len(positions))])
    common = [int(np.bincount(classes[members]).argmax()) for members in sets]
    left = np.bincount(common, minlength=wanted.shape[1])

    for i in sorted(range(len(sets)), key=lambda i: (-len(sets[i]), sets[i][0])):
        members, name = sets[i], common[i]
        lacking = wanted[:, name] - present[:, name]
        empty = np.flatnonzero((present[:, name] == 0) & (wanted[:, name] > 0))
        rescued = len(empty) > 0 and empty[0] != 0 and left[name] <= len(empty)
        choice = int(empty[-1] if rescued else lacking.argmax())

        part[members] = choice
        present[choice] += np.bincount(classes[members], minlength=wanted.shape[1])
        left[name] -= 1

    return [np.flatnonzero(part == k).astype(np.int64) for k in range(len(positions))], len(moved)
