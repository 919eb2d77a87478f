"""Targets that preprocessing completes (`Task.locate`, `Task.complete_target`), when a split is used."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
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
    return dataclasses.replace(dataset, splits=_Located(dataset.splits, task, spec), original=dataset)


class _Located(Mapping[str, Split]):
    def __init__(self, splits: Mapping[str, Split], task: Task, spec: Mapping[str, Any]) -> None:
        self._splits, self._task, self._spec = splits, task, spec
        self._done: dict[str, Split] = {}

    def __getitem__(self, name: str) -> Split:
        if name not in self._done:
            self._done[name] = located(self._splits[name], self._task, self._spec)
        return self._done[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __len__(self) -> int:
        return len(self._splits)
