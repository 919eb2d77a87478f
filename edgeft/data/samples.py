"""What every data format opens to: lazy splits over a pool of raw samples, and how a pool is divided into them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..errors import DataError, RecipeError, UsageError, nearest

NAMES = ("train", "val", "test")


class Pool(Protocol):
    """Samples by number, as one format stores them; nothing is kept in memory that the format does not need."""

    def __len__(self) -> int: ...

    def raw(self, i: int) -> np.ndarray:
        """Pixels uint8 (H, W) or (H, W, C); raises `DataError` naming the sample when it cannot be read."""
        ...

    def source(self, i: int) -> str:
        """Where sample `i` comes from, for people: a file, or `file[key][row]`."""
        ...


def pixel_digest(raw: np.ndarray) -> str:
    """sha256 of decoded pixels: dtype, shape and bytes, so that the same picture in two files is the same sample."""
    raw = np.ascontiguousarray(raw)
    digest = hashlib.sha256(f"{raw.dtype.str}{raw.shape}".encode())
    digest.update(raw.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """A lazy sequence of labelled samples: `indices` int64 (N,) into `pool`, `targets` int64 (N,) into the labels."""

    name: str
    pool: Pool
    indices: np.ndarray
    targets: np.ndarray
    _digests: dict[int, str] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        for i in range(len(self)):
            yield self.raw(i), int(self.targets[i])

    def raw(self, i: int) -> np.ndarray:
        """Pixels of sample `i`, uint8 (H, W) or (H, W, C), decoded now and not kept."""
        return self.pool.raw(int(self.indices[i]))

    def source(self, i: int) -> str:
        return self.pool.source(int(self.indices[i]))

    def digest(self, i: int) -> str:
        """sha256 of the decoded pixels of sample `i`; computed once, then remembered."""
        key = int(self.indices[i])
        if key not in self._digests:
            self._digests[key] = pixel_digest(self.raw(i))
        return self._digests[key]

    def subset(self, positions: Sequence[int] | np.ndarray, name: str = "") -> Split:
        """The samples at `positions` (numbers within this split), in that order."""
        at = np.asarray(positions, np.int64)
        return Split(name or self.name, self.pool, self.indices[at], self.targets[at], self._digests)


@dataclass(frozen=True)
class Dataset:
    """Labels (the class of target `i` is `labels[i]`), the splits that exist, and notes for the user.

    A format may read a split only when it is first asked for; `notes` then grows (unreadable files, for example).
    """

    name: str
    labels: tuple[str, ...]
    splits: Mapping[str, Split]
    notes: list[str] = field(default_factory=list)

    def split(self, name: str) -> Split:
        """The split called train, val or test. Raises `UsageError` for another name, `DataError` when it is absent."""
        if name not in NAMES:
            raise UsageError(f"unknown split {name!r}", remedy=nearest(name, NAMES))
        if name not in self.splits:
            raise DataError(
                f"the data has no {name} split, only {', '.join(self.splits)}",
                where=self.name,
                remedy="add a train/ split: val and test can be taken from it",
            )
        return self.splits[name]


def fractions(split: Sequence[float]) -> tuple[float, float, float]:
    """(train, val, test) shares, normalized to sum 1; raises `RecipeError` unless they are three numbers above 0."""
    numbers = [isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 for value in split]
    if len(split) != 3 or not all(numbers) or sum(split) > 1 + 1e-6:
        raise RecipeError(
            f"is {list(split)!r}, expected the shares of train, val and test: three numbers above 0, at most 1 in all",
            where="data.split",
            remedy="for example split = [0.7, 0.15, 0.15]",
        )
    total = float(sum(split))
    return split[0] / total, split[1] / total, split[2] / total


def stratified(targets: np.ndarray, shares: Sequence[float], seed: int, where: str) -> list[np.ndarray]:
    """Positions (sorted int64) of each part, every class divided by `shares` (sum 1), the same for the same seed.

    Each part gets at least one sample of every class; raises `DataError` where a class is too small for that.
    """
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in shares]
    for target in np.unique(targets):
        members = rng.permutation(np.flatnonzero(targets == target))
        if len(members) < len(shares):
            raise DataError(
                f"class number {int(target)} has {len(members)} sample(s), too few to divide into {len(shares)} splits",
                where=where,
                remedy="add samples of that class, remove it, or make the split folders yourself",
            )
        sizes = _sizes(len(members), shares)
        ends = np.cumsum(sizes)
        for part, end, size in zip(parts, ends, sizes):
            part.append(members[end - size : end])
    return [np.sort(np.concatenate(part)).astype(np.int64) for part in parts]


def _sizes(n: int, shares: Sequence[float]) -> np.ndarray:
    """Whole numbers that sum to `n` and follow `shares` by largest remainder, none of them 0."""
    exact = np.asarray(shares, np.float64) * n
    sizes = np.floor(exact).astype(np.int64)
    for at in np.argsort(sizes - exact, kind="stable")[: n - int(sizes.sum())]:
        sizes[at] += 1
    while (sizes == 0).any():
        sizes[int(np.argmax(sizes))] -= 1
        sizes[int(np.argmin(sizes))] += 1
    return sizes


def complete(
    splits: dict[str, Split], shares: Sequence[float], seed: int, where: str
) -> tuple[dict[str, Split], list[str]]:
    """Take a missing val or test split out of train, never out of test: (splits in order, notes).

    Where there is no train split nothing is added: data that is only there to be tested on is fine.
    """
    train, val, test = fractions(shares)
    missing = [name for name in ("val", "test") if name not in splits]
    if "train" not in splits or not missing:
        return {name: splits[name] for name in NAMES if name in splits}, []
    share = {"train": train, "val": val, "test": test}
    parts = ["train", *missing]
    total = sum(share[name] for name in parts)
    whole = splits["train"]
    positions = stratified(whole.targets, [share[name] / total for name in parts], seed, where)
    made = dict(splits) | {name: whole.subset(at, name) for name, at in zip(parts, positions)}
    counts = ", ".join(f"{name} {len(made[name])}" for name in parts)
    note = f"no {' and no '.join(missing)} split was given: train was divided by class with seed {seed} into {counts}"
    return {name: made[name] for name in NAMES}, [note]


def require_classes(splits: Mapping[str, Split], labels: Sequence[str], where: str) -> None:
    """Raise `DataError` unless there are two or more classes and every split has samples of each of them."""
    if len(labels) < 2:
        found = f"only one class ({labels[0]})" if labels else "no classes"
        raise DataError(f"{found}: there is nothing to tell apart", where=where, remedy="give two or more classes")
    for split in splits.values():
        if not len(split):
            raise DataError(f"the {split.name} split is empty", where=where)
        counts = np.bincount(split.targets, minlength=len(labels))
        lacking = [label for label, count in zip(labels, counts) if not count]
        if lacking:
            raise DataError(
                f"the {split.name} split has no sample of {', '.join(map(repr, lacking[:5]))}"
                + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""),
                where=where,
                remedy="every split needs the same classes: add samples, or remove the class everywhere",
            )
