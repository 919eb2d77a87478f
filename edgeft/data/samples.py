"""What every data format opens to: lazy splits over a pool of raw samples, and how a pool is divided into them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..core.errors import DataError, RecipeError, UsageError, nearest
from . import equal
from .stored import BLOCK

NAMES = ("train", "val", "test")
#: split -> the words that name it in folders and files, in any case
SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
#: shares of a split that leave everything together, of however few classes: new samples of a device
WHOLE = (1.0, 0.0, 0.0)


def split_named(name: str) -> str:
    """The split that a name says ("Validation", "train2017": any case, with or without a year), or ""."""
    word = re.sub(r"[-_ ]?\d{4}$", "", name.strip().lower())
    return next((split for split, words in SPLIT_WORDS.items() if word in words), "")


class Pool(Protocol):
    """Samples by number, as one format stores them; nothing is kept in memory that the format does not need."""

    def __len__(self) -> int: ...

    def raw(self, i: int) -> Any:
        """What the task preprocesses: pixels uint8 (H, W[, C]), a text, numbers float32 (K,), a table of such values.

        Raises `DataError` naming the sample when it cannot be read.
        """
        ...

    def source(self, i: int) -> str:
        """Where sample `i` comes from, for people: a file, or `file[key][row]`."""
        ...


def content_digest(raw: Any) -> str:
    """sha256 of a raw sample: dtype, shape and bytes of arrays, so that one picture in two files is the same sample."""
    digest = hashlib.sha256()
    if isinstance(raw, Mapping):
        for key in sorted(raw):
            digest.update(f"{key} {content_digest(raw[key])} ".encode())
    elif isinstance(raw, str):
        digest.update(raw.encode("utf-8", "surrogatepass"))
    else:
        raw = np.ascontiguousarray(raw)
        digest.update(f"{raw.dtype.str}{raw.shape}".encode())
        digest.update(raw.tobytes())

    return digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """A lazy sequence of samples: `indices` int64 (N,) into `pool`, and `targets` (N, ...) as the task has them.

    A classifier's targets are int64 (N,) into the labels, a controller's float32 (N, K); a task whose targets differ in
    shape (boxes, token ids) has an object array (N,).
    """

    name: str
    pool: Pool
    indices: np.ndarray
    targets: np.ndarray
    _digests: dict[int, str] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for i in range(len(self)):
            yield self.raw(i), self.targets[i]

    @property
    def classes(self) -> np.ndarray | None:
        """The class number of each sample, int64 (N,), or None where targets are no classes."""
        plain = self.targets.ndim == 1 and self.targets.dtype.kind in "iu"
        return self.targets.astype(np.int64, copy=False) if plain else None

    def raw(self, i: int) -> Any:
        """Sample `i` as the pool has it, decoded now and not kept."""
        return self.pool.raw(int(self.indices[i]))

    def source(self, i: int) -> str:
        return self.pool.source(int(self.indices[i]))

    def sources(self) -> Iterator[str]:
        """`source` of every sample in order; a pool may tell those of many by `sources(indices)`."""
        several = getattr(self.pool, "sources", None)
        if several is None:
            yield from map(self.source, range(len(self)))
            return
        for start in range(0, len(self), BLOCK):
            yield from several(self.indices[start : start + BLOCK])

    @property
    def groups(self) -> list[str]:
        """What each sample belongs to (its speaker), "" where that is not known; a pool may tell it by `group(i)`."""
        group = getattr(self.pool, "group", None)
        return [] if group is None else [group(int(i)) for i in self.indices]

    def digest(self, i: int) -> str:
        """sha256 of the decoded content of sample `i`; computed once, then remembered."""
        key = int(self.indices[i])
        if key not in self._digests:
            self._digests[key] = content_digest(self.raw(i))
        return self._digests[key]

    def subset(self, positions: Sequence[int] | np.ndarray, name: str = "") -> Split:
        """The samples at `positions` (numbers within this split), in that order."""
        at = np.asarray(positions, np.int64)
        return Split(name or self.name, self.pool, self.indices[at], self.targets[at], self._digests)


@dataclass(frozen=True)
class Dataset:
    """Labels (of classes, or of what each output is), the splits that exist, notes for the user, and facts.

    `facts` are numbers that a model is built by and that no single sample shows (how many users, the width of a row).
    A format may read a split only when it is first asked for; `notes` then grows (unreadable files, for example).
    """

    name: str
    labels: tuple[str, ...]
    splits: Mapping[str, Split]
    notes: list[str] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: the data themselves, where the targets of these splits hold what preprocessing adds (`located.py`)
    original: Dataset | None = None

    @property
    def unlabelled(self) -> bool:
        """Whether the samples have no labels: what stands for them is what the float model answers."""
        return bool(self.facts.get("unlabelled"))

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


def stratified(targets: np.ndarray, shares: Sequence[float], seed: int) -> list[np.ndarray]:
    """Positions (sorted int64) of each part, every class divided by `shares` (sum 1), the same for the same seed.

    Each part gets at least one sample of every class that has so many; of a smaller one the first part gets a sample,
    then the last.
    """
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in shares]
    dtype = np.int32 if len(targets) < 2**31 else np.int64  # of millions of samples these are many bytes
    for target in np.unique(targets):
        members = np.flatnonzero(targets == target).astype(dtype)
        rng.shuffle(members)
        sizes = _sizes(len(members), shares)
        ends = np.cumsum(sizes)
        for part, end, size in zip(parts, ends, sizes):
            part.append(members[end - size : end])

    whole = [np.concatenate(part) for part in parts]
    for positions in whole:
        positions.sort()
    return [positions.astype(np.int64) for positions in whole]


def _sizes(n: int, shares: Sequence[float]) -> np.ndarray:
    """Whole numbers that sum to `n` and follow `shares` by largest remainder, none of them 0 where `n` allows it."""
    if n < len(shares):
        sizes = np.zeros(len(shares), np.int64)
        sizes[[0, *range(len(shares) - 1, 0, -1)][:n]] = 1
        return sizes

    exact = np.asarray(shares, np.float64) * n
    sizes = np.floor(exact).astype(np.int64)
    for at in np.argsort(sizes - exact, kind="stable")[: n - int(sizes.sum())]:
        sizes[at] += 1

    while (sizes == 0).any():
        sizes[int(np.argmax(sizes))] -= 1
        sizes[int(np.argmin(sizes))] += 1

    return sizes


def grouped(groups: np.ndarray, shares: Sequence[float], seed: int, where: str) -> list[np.ndarray]:
    """Positions (sorted int64) of each part; samples of one group (an episode, a drive) are never divided.

    Whole groups, in an order drawn from `seed`, fill the part that lacks most of its share. Raises `DataError` where
    there are fewer groups than parts.
    """
    names, members = np.unique(groups, return_inverse=True)
    if len(names) < len(shares):
        raise DataError(
            f"{len(names)} recording(s) cannot be divided into {len(shares)} splits without parting one",
            where=where,
            remedy="record more, or make the split files yourself",
        )

    parts: list[list[int]] = [[] for _ in shares]
    filled = np.zeros(len(shares))
    sizes = np.bincount(members)

    for group in np.random.default_rng(seed).permutation(len(names)):
        at = int(np.argmax(np.asarray(shares) - filled / len(groups)))
        at = next((i for i, part in enumerate(parts) if not part), at) if not all(parts) else at
        parts[at].append(int(group))
        filled[at] += sizes[group]

    return [np.flatnonzero(np.isin(members, part)).astype(np.int64) for part in parts]


def complete(
    splits: dict[str, Split], shares: Sequence[float], seed: int, where: str, labels: Sequence[str] = ()
) -> tuple[dict[str, Split], list[str]]:
    """Take a missing val or test split out of train, never out of test: (splits in order, notes). Samples of equal
    content go to one split, where equality is cheap to know (`equal.py`).

    Where there is no train split nothing is added: data that is only there to be tested on is fine. The notes name
    those of `labels` of which a part gets no sample. Raises `DataError` where there are fewer samples than parts.
    """
    if tuple(shares) == WHOLE:
        return {name: splits[name] for name in NAMES if name in splits}, []

    train, val, test = fractions(shares)
    missing = [name for name in ("val", "test") if name not in splits]
    if "train" not in splits or not missing:
        return {name: splits[name] for name in NAMES if name in splits}, []

    share = {"train": train, "val": val, "test": test}
    parts = ["train", *missing]
    total = sum(share[name] for name in parts)
    train_split = splits["train"]
    strata = np.zeros(len(train_split), np.int64) if train_split.classes is None else train_split.classes
    positions = stratified(strata, [share[name] / total for name in parts], seed)
    positions, note_of_equal = together(train_split, positions)
    empty = [name for name, at in zip(parts, positions) if not len(at)]

    if empty:
        raise DataError(
            f"{len(train_split)} sample(s) are too few to divide into {len(parts)} splits: {empty[0]} gets none",
            where=where,
            remedy="add samples, or make the splits yourself",
        )

    completed = dict(splits) | {name: train_split.subset(at, name) for name, at in zip(parts, positions)}
    counts = ", ".join(f"{name} {len(completed[name])}" for name in parts)
    how = "at random" if train_split.classes is None else "by class"
    note = f"no {' and no '.join(missing)} split was given: train was divided {how} with seed {seed} into {counts}"
    looked_at = parts if note_of_equal else missing
    lacking = [line for name in looked_at if (line := _lacking(completed[name], labels))]

    return {name: completed[name] for name in NAMES}, [note, *note_of_equal, *lacking]


def together(split: Split, positions: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
    """`positions` of each part of `split` such that samples of equal content are in one part, and a note of it.

    Where a part would be left without a sample they stay as they are.
    """
    content = equal.groups(split)
    if content is None:
        return list(positions), []

    strata = np.zeros(len(split), np.int64) if split.classes is None else split.classes
    whole, count = equal.joined(positions, content, strata)
    if any(len(at) < 1 <= len(before) for at, before in zip(whole, positions)):
        kinds = len(np.unique(content))
        return list(positions), [
            f"{kinds} different samples are too few for splits that share none: equal ones are divided"
        ]

    note = f"{count} samples of equal content would have been divided: equal ones were put into one split"
    return whole, [note] if count else []


def _lacking(split: Split, labels: Sequence[str]) -> str:
    """A warning that names the classes of which a split has no sample, or ""."""
    classes = split.classes
    if classes is None:
        return ""

    counts = np.bincount(classes, minlength=len(labels))
    absent = [label for label, count in zip(labels, counts) if not count]
    if not absent:
        return ""

    return (
        f"the {split.name} split has no sample of {', '.join(map(repr, absent[:5]))}"
        + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        + f": nothing is measured there of {'these classes' if len(absent) > 1 else 'this class'}"
    )


def require_classes(
    splits: Mapping[str, Split], labels: Sequence[str], where: str, shares: Sequence[float] = ()
) -> list[str]:
    """Warnings that name the classes of which a validation or test split has no sample.

    Raises `DataError` unless there are two or more classes, no split is empty, and train has samples of every class.
    Of data that stays `WHOLE` nothing is asked but that it is there.
    """
    if tuple(shares) == WHOLE:
        labels = labels[:0] if not any(len(split) for split in splits.values()) else labels
        if labels:
            return []

    if len(labels) < 2:
        problem = f"only one class ({labels[0]})" if labels else "no classes"
        raise DataError(f"{problem}: there is nothing to classify", where=where, remedy="give two or more classes")

    warnings: list[str] = []
    for split in splits.values():
        if not len(split):
            raise DataError(
                f"the {split.name} split is empty", where=where, remedy=f"add samples, or leave {split.name} out"
            )
        absent = _lacking(split, labels)
        if absent and split.name == "train":
            raise DataError(
                absent.partition(": nothing")[0],
                where=where,
                remedy="a class cannot be learned without a sample: add some, or remove the class everywhere",
            )
        warnings += [absent] if absent else []

    return warnings


def listed(names: Sequence[str]) -> str:
    """Up to five names in quotation marks, and how many more."""
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
