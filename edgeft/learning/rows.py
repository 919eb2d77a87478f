"""Batches of a pool that makes the inputs of many samples at once (`inputs(indices, spec)`): rows of a table.

Order and augmentation are those of `tensors.py`, and so are the batches, bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .batches import Loading, Samples, Source
from .tensors import Augment, Collate, Inputs, Preprocess, Targets, class_numbers
from .tensors import source as one_by_one


class Batch:
    """Positions in a split, the inputs (N, ...) and the targets of these samples."""

    def __init__(self, positions: tuple[int, ...], inputs: np.ndarray, targets: Sequence[Any]) -> None:
        self.positions, self.inputs, self.targets = positions, inputs, targets


class Rows(torch.utils.data.Dataset[Any]):
    """A split whose loader asks for the samples of a batch together."""

    def __init__(self, split: Any, spec: Mapping[str, Any]) -> None:
        self.split, self.spec = split, dict(spec)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int) -> Batch:
        return self.__getitems__([i])

    def __getitems__(self, positions: list[int]) -> Batch:
        at = np.array(positions, np.int64)
        inputs = self.split.pool.inputs(self.split.indices[at], self.spec)
        return Batch(tuple(positions), inputs, self.split.targets[at])


class Joined(Collate):
    """`Collate` of what is one batch already."""

    def __call__(self, batch: Any) -> tuple[Inputs, Any]:
        inputs = self.changed(batch.positions, (torch.from_numpy(batch.inputs),))
        return inputs, self.targets(batch.targets)


def source(
    preprocess: Preprocess,
    split: Samples,
    spec: Mapping[str, Any],
    loading: Loading,
    *,
    targets: Targets = class_numbers,
    augment: Augment | None = None,
    keep: bool = True,
) -> Source:
    """Batches of `split` as `tensors.source` gives them, made together where its pool can."""
    if not hasattr(getattr(split, "pool", None), "inputs"):
        return one_by_one(preprocess, split, spec, loading, targets=targets, augment=augment, keep=keep)
    return Source(Rows(split, spec), Joined(targets, augment, loading.seed, loading.epoch))
