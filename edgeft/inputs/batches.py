"""Raw samples -> preprocessing -> batches of feeds -> outputs: the loop of every pass over data outside of training.

Verification, export, calibration, personalization and prediction all read their samples here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..core.progress import track

#: samples of a batch: what a cache holds is faster than what memory holds
BATCH = 32
#: bytes of the feeds of a batch: large pictures come in smaller ones, since a net's activations are many times as large
BATCH_BYTES = 2**25
#: arrays (N, ...) by the name of a graph's input or output
Arrays = dict[str, np.ndarray]


class Samples(Protocol):
    """Raw samples in order, each read when it is asked for."""

    def __len__(self) -> int: ...

    def raw(self, i: int) -> Any: ...


class Preprocessing(Protocol):
    """The part of a task that makes the feeds of one raw sample, each array with one row."""

    def preprocess(self, raw: Any, spec: Mapping[str, Any]) -> Arrays: ...


class Runnable(Protocol):
    """The part of a session that maps feeds to outputs."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays: ...


def batches(count: int, feed: Callable[[int], Arrays], size: int = BATCH) -> Iterator[tuple[range, Arrays]]:
    """(positions, feeds (n, ...)) of `count` samples in order; `feed(i)` gives one row each.

    A batch has at most `size` samples and, where it has several, at most `BATCH_BYTES`. Nothing beyond one batch is
    held in memory.
    """
    start = 0
    while start < count:
        rows = [feed(start)]
        fitting = max(1, min(size, BATCH_BYTES // max(1, sum(value.nbytes for value in rows[0].values()))))
        positions = range(start, min(start + fitting, count))
        rows += [feed(i) for i in positions[1:]]
        yield positions, {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        start = positions.stop


def preprocessed(
    task: Preprocessing, spec: Mapping[str, Any], samples: Samples, size: int = BATCH, title: str = ""
) -> Iterator[tuple[range, Arrays]]:
    """`batches` of the feeds that a task makes of raw samples, whose progress is shown under `title`.

    Raises what reading and preprocessing raise.
    """
    feeds = batches(len(samples), lambda i: task.preprocess(samples.raw(i), spec), size)
    return track(feeds, title, total=len(samples), unit="sample", size=lambda batch: len(batch[0])) if title else feeds


def joined(parts: Sequence[Arrays]) -> Arrays:
    """Outputs of batches in order as one table of arrays; {} of no batches."""
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def outputs_of(
    sessions: Sequence[Runnable],
    batches_of_feeds: Iterable[tuple[range, Arrays]],
    map_sessions: Callable[..., Iterable[Arrays]] = map,
) -> list[Arrays]:
    """The outputs (N, ...) of each session over all batches; a batch is read once for all of them.

    `map_sessions` may be an executor's `map`, which lets the sessions run side by side.
    """
    parts: list[list[Arrays]] = [[] for _ in sessions]
    for _, feeds in batches_of_feeds:
        for part, outputs in zip(parts, map_sessions(lambda session, feeds=feeds: session.run(feeds), sessions)):
            part.append(outputs)
    return [joined(part) for part in parts]


def in_batches(session: Runnable, feeds: Mapping[str, np.ndarray], size: int = BATCH) -> Arrays:
    """The outputs of feeds with any number of rows, of which at most `size` are computed at once."""
    count = len(next(iter(feeds.values()), ()))
    if count <= size:
        return session.run(feeds)
    parts = [{name: value[i : i + size] for name, value in feeds.items()} for i in range(0, count, size)]
    return joined([session.run(part) for part in parts])


def row_by_row(session: Runnable, feeds: Mapping[str, np.ndarray]) -> Arrays:
    """The outputs of each row run alone, as a board runs it: kernels of larger batches sum in another order."""
    count = len(next(iter(feeds.values()), ()))
    return joined([session.run({name: value[i : i + 1] for name, value in feeds.items()}) for i in range(count)])
