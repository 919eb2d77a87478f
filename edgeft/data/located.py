"""Targets as a model's outputs have them, made when a split is used: what preprocessing completes (`Task.locate`,
`Task.complete_target`), and their numbers where the model has labels of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..tasks import Task
from .samples import Dataset, Split


def located(split: Split, task: Task, spec: Mapping[str, Any]) -> Split:
    """`split` with targets as the outputs have them; the same where the task completes none. `locate` reads every
    sample."""
    if task.locate is None and task.complete_target is None:
        return split
    targets = np.empty(len(split), object)
    for i, target in enumerate(split.targets):
        complete = target if task.complete_target is None else task.complete_target(target, spec)
        targets[i] = complete if task.locate is None else task.locate(split.raw(i), complete, spec)
    return dataclasses.replace(split, targets=targets)


def located_data(dataset: Dataset, task: Task, spec: Mapping[str, Any]) -> Dataset:
    """`dataset` with the splits of `located`; its fingerprint stays that of the data themselves."""
    if task.locate is None and task.complete_target is None:
        return dataset
    splits = _Changed(dataset.splits, lambda split: located(split, task, spec))
    return dataclasses.replace(dataset, splits=splits, original=dataset.original or dataset)


def relabelled(dataset: Dataset, task: Task, labels: Sequence[str]) -> Dataset:
    """`dataset` with targets as a model with `labels` has them (`Task.join`); its fingerprint stays that of the data
    themselves. Raises `DataError` as `Task.join` does."""
    if tuple(labels) == tuple(dataset.labels):
        return dataset

    def joined(split: Split) -> Split:
        return dataclasses.replace(split, targets=task.join(split.targets, dataset.labels, labels, dataset.name))

    return dataclasses.replace(
        dataset, labels=tuple(labels), splits=_Changed(dataset.splits, joined), original=dataset.original or dataset
    )


class _Changed(Mapping[str, Split]):
    """Splits that `change` alters when they are first used."""

    def __init__(self, splits: Mapping[str, Split], change: Callable[[Split], Split]) -> None:
        self._splits, self._change = splits, change
        self._done: dict[str, Split] = {}

    def __getitem__(self, name: str) -> Split:
        if name not in self._done:
            self._done[name] = self._change(self._splits[name])
        return self._done[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __len__(self) -> int:
        return len(self._splits)
