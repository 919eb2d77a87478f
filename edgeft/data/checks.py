"""Can this data be trusted? Class balance, leaks between splits, calibration sets, and a data set's fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import tasks
from ..core.errors import DataError, UsageError, nearest
from ..tasks import LabelCounts, Task
from . import label_names, similar, similar_sounds
from .samples import NAMES, Dataset, Split, content_digest, listed
from .stored import BLOCK

#: the largest class over the smallest one, from where on it is reported.
IMBALANCE = 5.0
#: bins of the range of recorded values, and the share of the values in the fullest from where on it is reported.
BINS, CONSTANT = 20, 0.6
#: samples of all splits together up to which every pixel is compared; above it names and a part are.
FULL_LIMIT = 20_000
#: samples that may be calibrated on and whose content is looked for in a split at a time
WINDOW = 1024
CHOICES = ("random", "stratified", "first")


@dataclass(frozen=True)
class Findings:
    """What is to be known of data before they are trusted, as sentences; `limits` say what was not looked at.

    `in_training` is how many of the test samples that were looked at have the content of a training sample, and how
    many those are.
    """

    notes: tuple[str, ...]
    imbalance: tuple[str, ...]
    leaks: tuple[str, ...]
    limits: tuple[str, ...]
    in_training: tuple[int, int] = (0, 0)

    def lines(self) -> list[str]:
        """All of them in reading order."""
        return [*self.notes, *self.imbalance, *self.leaks, *self.limits]

    def leak(self) -> dict[str, Any]:
        """`leak` and `leaks` of summary.json; nothing where test samples are in no other split."""
        identical, n = self.in_training
        return {"leak": {"identical": identical, "n": n}, "leaks": list(self.leaks)} if self.leaks or identical else {}


def examine(dataset: Dataset, task: Task | None = None) -> Findings:
    """The notes of the data's reader, `imbalance` and `leaks`.

    `task` knows what its targets count (boxes, pixels); without it only classes of samples are. Decodes every sample of
    data sets up to 20,000 samples, an even part of larger ones (and says so). Raises `DataError` where a split cannot
    be used at all.
    """
    uneven = imbalance(dataset, task)
    shared, limits, in_training = leaks(dataset)
    notes = dict.fromkeys(
        [*dataset.notes, *label_names.written_twice(dataset.labels)]
    )  # readers add to them while samples are looked at
    return Findings(tuple(notes), tuple(uneven), tuple(shared), tuple(limits), in_training)


def check(dataset: Dataset, task: Task | None = None) -> list[str]:
    """The lines of `examine`."""
    return examine(dataset, task).lines()


def imbalance(dataset: Dataset, task: Task | None = None) -> list[str]:
    """A line for each split whose rarest label occurs five times less than the commonest one, or that has none of it,
    and for recorded values that are nearly always the same."""
    lines = []
    for name in (name for name in NAMES if name in dataset.splits):
        split = dataset.split(name)
        lines += _balance(split, dataset.labels, task) + _constant_values(split, dataset.labels)
    return lines


def leaks(dataset: Dataset) -> tuple[list[str], list[str], tuple[int, int]]:
    """(what splits share: groups such as speakers, equal samples, and samples that are almost equal; what was not
    looked at; `Findings.in_training`)."""
    splits = [dataset.split(name) for name in NAMES if name in dataset.splits]
    lines = [line for split in splits[1:] for line in _shared_groups(splits[0], split)]
    limits = []
    total = sum(map(len, splits))

    if total > FULL_LIMIT:
        share = FULL_LIMIT / total
        splits = [split.subset(np.linspace(0, len(split) - 1, max(1, int(len(split) * share)))) for split in splits]
        limits.append(f"looked for duplicates in {sum(map(len, splits))} of {total} samples only")

    hashes: dict[str, np.ndarray] = {}
    for i, first in enumerate(splits):
        for second in splits[i + 1 :]:
            lines += _leaks(first, second, hashes, limits)

    return lines, limits, _in_training(splits)


def _in_training(splits: Sequence[Split]) -> tuple[int, int]:
    split_of = {split.name: split for split in splits}
    if "train" not in split_of or "test" not in split_of:
        return 0, 0
    same = overlap(split_of["train"], split_of["test"])  # by digests that are known by now
    return len({j for _, j in same}), len(split_of["test"])


def _balance(split: Split, labels: Sequence[str], task: Task | None) -> list[str]:
    counted = tasks.count_labels(task, split, labels) if task is not None else _class_counts(split, labels)
    if counted is None or not counted.balance or not labels or not counted.counts.sum():
        return []

    counts = counted.counts
    single = [label for label, count in zip(labels, counts) if count == 1 < counts.max()]
    lines = [f"{split.name}: only one sample is of {listed(single)}, too few to train on"] if single else []
    lines = lines if split.name == "train" and counted.unit == "samples" else []
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] < IMBALANCE * max(1, counts[least]):
        return lines

    ratio = f"{counts[most] / counts[least]:.0f}:1" if counts[least] else "none at all"
    if counted.unit != "samples":
        return [
            f"{split.name}: classes are unbalanced, {labels[most]} has {counts[most]} {counted.unit} and "
            f"{labels[least]} {counts[least]} ({ratio}); rare classes are learned last and hardly move the mean: look "
            "at the result of each class"
        ]

    mend = ', or learn with train.class_weights = "balanced"' if split.name == "train" else ""
    return [
        *lines,
        f"{split.name}: classes are unbalanced, {labels[most]} has {counts[most]} samples and {labels[least]} "
        f"{counts[least]} ({ratio}); accuracy alone may mislead, look at the worst class{mend}",
    ]


def _class_counts(split: Split, labels: Sequence[str]) -> LabelCounts | None:
    return None if split.classes is None else LabelCounts("samples", np.bincount(split.classes, minlength=len(labels)))


def _constant_values(split: Split, labels: Sequence[str]) -> list[str]:
    """A line for each column of recorded values of which most lie in one twentieth of the range."""
    targets = split.targets
    if targets.dtype.kind != "f" or targets.ndim != 2 or not len(split) or targets.shape[1] != len(labels):
        return []

    lines = []
    for label, column in zip(labels, targets.T):
        values = column[np.isfinite(column)]
        if not len(values):
            continue
        counts, edges = np.histogram(values, bins=BINS)
        share, at = counts.max() / len(values), int(counts.argmax())
        if share > CONSTANT and values.min() < values.max():
            lines.append(
                f"{split.name}: {share:.0%} of the values of {label} lie between {edges[at]:.3g} and "
                f"{edges[at + 1]:.3g}, one twentieth of their range: a model that always answers this looks good"
            )

    return lines


def _shared_groups(first: Split, second: Split) -> list[str]:
    before, after = set(first.groups), set(second.groups)
    shared = sorted((before & after) - {""})
    if not shared:
        return []

    kind = getattr(second.pool, "group_name", "group")
    listed = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
    return [
        f"possible leak: {len(shared)} of {len(after)} values of {kind!r} in {second.name} are also in {first.name} "
        f"({listed}): {second.name} does not measure the result on a "
        f'new {kind}; data.group = "{kind}" keeps them apart where the data is divided here'
    ]


def _leaks(first: Split, second: Split, hashes: dict[str, np.ndarray], limits: list[str]) -> list[str]:
    """What both splits share; `hashes` keeps those of a split by its name for the next pair."""
    lines = []
    same = overlap(first, second)
    if same:
        a, b = same[0]
        lines.append(
            f"leak: {len({j for _, j in same})} of {len(second)} {second.name} samples are also in {first.name} "
            f"(the same content), for example {second.source(b)} and {first.source(a)}"
        )

    skip = {j for _, j in same}
    words = similar.same_words(first, second, skip) if _texts(first) and _texts(second) else []
    if words:
        a, b = words[0]
        lines.append(
            f"possible leak: {len(words)} of {len(second)} {second.name} texts have the words of one in {first.name} "
            f"(apart from case, blanks and punctuation), for example {second.source(b)} and {first.source(a)}"
        )

    kind = _kind(first, second)
    if kind is None:
        return lines

    module, how = kind
    known = [hashes.get(split.name) for split in (first, second)]
    for at, split in enumerate((first, second)):
        if known[at] is None:
            known[at] = hashes[split.name] = module.hashes(split)

    near, looked = module.near_duplicates(first, second, known, skip=skip)
    if near:
        a, b = near[0]
        lines.append(
            f"possible leak: {len(near)} of {len(second)} {second.name} samples {how} almost the same as one in "
            f"{first.name}, for example {second.source(b)} and {first.source(a)}"
        )

    if looked < len(second):
        limits.append(
            f"looked for near duplicates of {first.name} in {looked} of {len(second)} {second.name} samples only: "
            "too many resemble each other"
        )

    return lines


def _kind(first: Split, second: Split) -> tuple[Any, str] | None:
    """What finds near duplicates in both splits, and the words for them; None where nothing does."""
    raws = [split.raw(0) for split in (first, second) if len(split)]
    if len(raws) < 2:
        return None
    if all(similar.is_picture(raw) for raw in raws):
        return similar, "look"
    return (similar_sounds, "sound") if all(similar_sounds.is_sound(raw) for raw in raws) else None


def _texts(split: Split) -> bool:
    return bool(len(split)) and isinstance(split.raw(0), str)


def overlap(
    first: Split, second: Split, first_at: Sequence[int] | None = None, second_at: Sequence[int] | None = None
) -> list[tuple[int, int]]:
    """Pairs (position in `first`, position in `second`) of samples with the same decoded content.

    `first_at`, `second_at` restrict the comparison to those positions.
    """
    first_index: dict[str, int] = {}
    for i in range(len(first)) if first_at is None else first_at:
        first_index.setdefault(first.digest(int(i)), int(i))
    at = range(len(second)) if second_at is None else second_at
    return [(first_index[digest], int(j)) for j in at if (digest := second.digest(int(j))) in first_index]


def require_disjoint(calibration: Split, indices: Sequence[int] | np.ndarray, test: Split) -> None:
    """Raise `DataError` when a calibration sample is also a test sample (by its content, wherever it is stored)."""
    shared = overlap(calibration, test, [int(i) for i in indices])
    if shared:
        i, j = shared[0]
        raise DataError(
            f"{len(shared)} test sample(s) are in the calibration set, for example {test.source(j)}",
            where=calibration.source(i),
            remedy="calibrate on training samples that are not in the test split",
        )


def calibration_indices(
    split: Split, n: int, choose: str = "stratified", seed: int = 0, avoid: Split | None = None
) -> np.ndarray:
    """Positions (sorted int64) of `n` samples of `split` to calibrate on; all of them where there are fewer.

    `choose`: random, stratified (as many of each class as there are, at most n/classes, the rest at random) or first.
    Samples whose pixels are also in `avoid` are never taken. Raises `DataError` when nothing is left, `UsageError` for
    an unknown choice.
    """
    if choose not in CHOICES:
        raise UsageError(f"unknown choice {choose!r} of calibration samples", remedy=nearest(choose, CHOICES))

    rng = np.random.default_rng(seed)
    order = np.arange(len(split)) if choose == "first" else rng.permutation(len(split))
    by_class = choose == "stratified" and split.classes is not None
    quick = avoid is not None and _keyed(split, avoid)

    indices: list[int] = []
    for positions in _interleaved(order, split.targets) if by_class else (order,):
        start = 0
        while len(indices) < n and start < len(positions):
            part = positions[start : start + (max(n, WINDOW) if quick else n - len(indices))]
            banned = set() if avoid is None else _shared(split, part, avoid)
            indices += [int(i) for i in part if int(i) not in banned]
            start += len(part)
        if len(indices) >= n:
            break

    indices = indices[:n]
    if not indices:
        raise DataError(
            f"the calibration set is empty ({n} samples asked for, {len(split)} in the {split.name} split)",
            where=split.name,
            remedy="give at least one sample that is not in the test split",
        )

    return np.sort(np.asarray(indices, np.int64))


def extreme_rows(split: Split, most: int = 4) -> np.ndarray:
    """Positions (sorted int64) of the `most` lowest and highest samples of each column of rows of numbers.

    A state that a robot rarely reaches is seldom among samples drawn at random, and a range without it clips the state
    just where the controller has to act most.
    """
    rows = np.stack([np.asarray(split.raw(i), np.float64).reshape(-1) for i in range(len(split))])
    order = np.argsort(rows, axis=0, kind="stable")
    return np.unique(np.concatenate([order[:most], order[-most:]])).astype(np.int64)


def _shared(split: Split, positions: np.ndarray, other: Split) -> set[int]:
    """Those of `positions` in `split` whose content is in `other`, too."""
    if not _keyed(split, other):
        digests = {other.digest(i) for i in range(len(other))}
        return {int(i) for i in positions if split.digest(int(i)) in digests}

    at: dict[bytes, list[int]] = {}
    for i, key in zip(positions.tolist(), split.pool.keys(split.indices[positions])):  # type: ignore[attr-defined]
        at.setdefault(key, []).append(i)
    found: set[bytes] = set()
    for start in range(0, len(other), BLOCK):
        found |= at.keys() & set(other.pool.keys(other.indices[start : start + BLOCK]))  # type: ignore[attr-defined]
    return {i for key in found for i in at[key]}


def _keyed(first: Split, second: Split) -> bool:
    """Whether pools give their content by `keys(indices)`, cheaper than digests, which may be compared: of rows of a
    table with the same columns."""
    pools = first.pool, second.pool
    return all(hasattr(pool, "keys") for pool in pools) and len({getattr(pool, "names", pool) for pool in pools}) == 1


def _interleaved(order: np.ndarray, classes: np.ndarray) -> Iterator[np.ndarray]:
    """`order` rearranged so that the k-th samples of all classes come before any (k+1)-th, in parts.

    `classes` are numbers from 0, int (N,). Seldom more than the first part is wanted, so that only ranks are held.
    """
    rank = np.empty(len(order), np.int32)
    seen = np.zeros(int(classes.max(initial=0)) + 1, np.int64)
    for start in range(0, len(order), BLOCK):
        part = classes[order[start : start + BLOCK]].astype(np.int64, copy=False)
        by_class, counts = np.argsort(part, kind="stable"), np.bincount(part, minlength=len(seen))
        first = np.repeat(np.cumsum(counts) - counts - seen, counts)
        rank[start + by_class] = np.arange(len(part)) - first
        seen += counts

    low, high = 0, WINDOW
    while low < seen.max(initial=0):
        at = np.flatnonzero((rank >= low) & (rank < high))
        yield order[at[np.argsort(rank[at], kind="stable")]]
        low, high = high, 2 * high


def fingerprint(dataset: Dataset) -> str:
    """sha256 over labels, and over each split's targets and samples: the same for the same data wherever it lies.

    Samples count by their pixels up to 20,000 samples, beyond that by the end of their source's name.
    """
    dataset = dataset.original or dataset
    digest = hashlib.sha256(repr(tuple(dataset.labels)).encode())
    splits: list[Any] = [dataset.split(name) for name in NAMES if name in dataset.splits]
    full = sum(map(len, splits)) <= FULL_LIMIT

    for split in splits:
        digest.update(f"\n{split.name} {len(split)} ".encode())
        if split.classes is not None:
            digest.update(split.classes.astype("<i8").tobytes())
        else:
            for target in split.targets:
                digest.update(content_digest(target).encode())
        if full:
            for i in range(len(split)):
                digest.update(split.digest(i).encode())
        else:
            for source in split.sources():
                digest.update(source.replace("\\", "/").rsplit("/", 1)[-1].encode())

    return digest.hexdigest()
