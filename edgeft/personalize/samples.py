"""New samples of a user: labelled ones in the recipe's own format, or a stream of (raw, label)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import data as datasets
from ..bundle.manifest import recorded
from ..bundle.reader import Bundle
from ..core.errors import DataError
from ..core.progress import track
from ..data.samples import WHOLE
from ..inputs.batches import batches
from . import graphs
from .plan import Plan

#: without a test split of its own, data is judged in so many folds, each by a version that is trained on the others
FOLDS = 5


@dataclass(frozen=True)
class Samples:
    """Latents (n, ...) of samples, their targets in the bundle's terms, and the fold (n,) in which each is held out.

    A fold of -1 is of samples that are never held out. `apart`: the one fold 0 is a test split, which never teaches.
    `labels` are the bundle's, then those that the data adds. `sources` name the samples.
    """

    latents: list[np.ndarray]
    targets: np.ndarray
    fold: np.ndarray
    labels: tuple[str, ...]
    sources: tuple[str, ...]
    apart: bool = False

    @property
    def folds(self) -> list[int]:
        return [int(number) for number in np.unique(self.fold) if number >= 0]

    def part(self, chosen: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Latents and targets of the samples that are `chosen`, bool (n,)."""
        return [value[chosen] for value in self.latents], self.targets[chosen]


@dataclass(frozen=True)
class Given:
    """Raw samples before anything is computed; `raw` reads one of them, by its position, when it is asked for."""

    raw: Callable[[int], Any]
    targets: np.ndarray
    fold: np.ndarray
    labels: tuple[str, ...]
    sources: tuple[str, ...]
    apart: bool = False


def read(path: Path, bundle: Bundle, known: tuple[str, ...], free: int, seed: int = 0) -> Given:
    """The labelled data at `path`; `known` are the labels so far and `free` how many more the model has room for.

    Data with a test split of its own is judged on that; all else is divided here. Raises `DataError` naming the file
    or label that is wrong.
    """
    source = datasets.source(path, recorded(bundle.manifest, "data"))
    dataset = datasets.open(dataclasses.replace(source, split=WHOLE, group=""))
    if bundle.task.refuse_unseen is not None:
        bundle.task.refuse_unseen(dataset.facts, bundle.preprocess, str(path))

    splits = [dataset.splits[name] for name in ("train", "val", "test") if name in dataset.splits]
    labels = _labels(dataset.labels, known, free, str(path), classes=splits[0].classes is not None)
    targets = bundle.task.join(np.concatenate([s.targets for s in splits]), dataset.labels, labels, str(path))
    owned = len(splits) > 1 and splits[-1].name == "test"

    if owned:
        fold = np.concatenate([np.full(len(s), 0 if s.name == "test" else -1) for s in splits])
    else:
        strata = np.concatenate([s.targets for s in splits]) if splits[0].classes is not None else None
        fold = folds_of(strata, len(targets), seed, str(path))

    sources = tuple(s.source(i) for s in splits for i in range(len(s)))
    places = [(split, i) for split in splits for i in range(len(split))]
    return Given(lambda at: places[at][0].raw(places[at][1]), targets, fold, labels, sources, owned)


def stream(pairs: Iterable[tuple[Any, Any]], bundle: Bundle, known: tuple[str, ...], free: int, seed: int = 0) -> Given:
    """The same of (raw sample, label) pairs: a label is a class's name, or the values that a control should have."""
    raws, labels_of_stream = [], []
    for raw, label in pairs:
        raws.append(raw)
        labels_of_stream.append(label)

    if not raws:
        raise DataError("the stream gave no samples", where="samples", remedy="give (raw, label) pairs")

    names = tuple(f"sample {i}" for i in range(len(raws)))
    if all(isinstance(label, str) for label in labels_of_stream):
        labels = _labels(tuple(dict.fromkeys(labels_of_stream)), known, free, "samples", classes=True)
        targets = np.array([labels.index(label) for label in labels_of_stream], np.int64)
        return Given(raws.__getitem__, targets, folds_of(targets, len(raws), seed, "samples"), labels, names)

    try:
        values = np.array([np.asarray(label, np.float32) for label in labels_of_stream], np.float32)
    except (TypeError, ValueError) as error:
        raise DataError("labels are neither all names nor all numbers of one form", where="samples") from error

    return Given(raws.__getitem__, values, folds_of(None, len(raws), seed, "samples"), known, names)


def _labels(ours: tuple[str, ...], known: tuple[str, ...], free: int, where: str, *, classes: bool) -> tuple[str, ...]:
    """`known` and what the data adds; more than there is room for is a `DataError`."""
    new = tuple(label for label in ours if label not in known) if classes else ()
    if len(new) > free:
        room = f"room for {free} more" if free else "no room for a new class"
        raise DataError(
            f"the data has the label {new[0]!r}, the model knows {', '.join(known)} and has {room}",
            where=where,
            remedy="labels are joined by name: rename it, or export with personalize.spare_classes = N",
        )

    return (*known, *new)


def folds_of(classes: np.ndarray | None, count: int, seed: int, where: str) -> np.ndarray:
    """int64 (count,): the fold in which each sample is held out, at most `FOLDS`, the same for the same seed.

    Every class is spread over the folds; a sample that is the only one of its class always teaches (-1). A recording is
    cut into stretches, since frames beside each other are near copies. Raises `DataError` where nothing could be held
    out beside training samples.
    """
    rng, fold = np.random.default_rng(seed), np.full(count, -1)
    if classes is None:
        fold = np.arange(count) * min(FOLDS, count) // max(count, 1)

    for number in () if classes is None else np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == number))
        if len(members) > 1:
            fold[members] = np.arange(len(members)) % FOLDS

    if count < 2 or (fold < 0).all():
        raise DataError(
            f"{count} sample(s), none of them beside another of its class: nothing could be held out to judge by",
            where=where,
            remedy="give two or more samples of a class, or train/ and test/ folders of your own",
        )

    return fold.astype(np.int64)


def through(new_samples: Given, bundle: Bundle, plan: Plan, trunk: Any) -> Samples:
    """Preprocess every sample and run the trunk once on it. `DataError` names a sample that is not finite."""
    feeds = batches(len(new_samples.targets), lambda i: _feed(bundle, new_samples.raw(i), new_samples.sources[i]))
    total = len(new_samples.targets)
    tracked = track(feeds, "reading the new samples", total=total, unit="sample", size=lambda batch: len(batch[0]))
    parts = [graphs.latents_of(trunk, plan, batch) for _, batch in tracked]
    latents = [np.concatenate(values) for values in zip(*parts)]
    return Samples(
        latents, new_samples.targets, new_samples.fold, new_samples.labels, new_samples.sources, new_samples.apart
    )


def _feed(bundle: Bundle, raw: Any, source: str) -> dict[str, np.ndarray]:
    try:
        feed = bundle.task.preprocess(raw, bundle.preprocess)
    except DataError as error:
        if source not in error.where:
            error.where = f"{source}: {error.where}" if error.where else source
        raise

    for name, value in feed.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise DataError(f"the preprocessed sample holds values that are not finite ({name})", where=source)

    return feed
