"""Batches of texts for every task that reads them: of similar length, without the padding that all of a batch share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from . import batches, tensors


def trim(inputs: tensors.Inputs) -> tensors.Inputs:
    """(ids, mask), both (N, L), without the columns that are padding in every row; at least three columns stay."""
    ids, mask = inputs
    used = max(3, int((mask.any(0) * torch.arange(1, mask.shape[1] + 1)).max()))
    return ids[:, :used], mask[:, :used]


def source_of(
    preprocess: tensors.Preprocess, targets: tensors.Targets = tensors.class_numbers
) -> Callable[[batches.Samples, Mapping[str, Any], batches.Loading], batches.Source]:
    """What makes batches (input_ids, attention_mask), both int32 (N, L), and targets; texts are not augmented.

    L is the length of the batch's longest text. A shuffled batch holds texts of similar length, so that little of it is
    padding.
    """

    def source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
        similar = (lambda: lengths(preprocess, split, spec)) if loading.shuffle else None
        return tensors.source(preprocess, split, spec, loading, targets=targets, lengths=similar, cut=trim)

    return source


def calibration_of(
    preprocess: tensors.Preprocess,
) -> Callable[[batches.Samples, Mapping[str, Any], int], Iterator[tensors.Inputs]]:
    """Inputs to calibrate with: from the shortest text to the longest, so that ranges are those of words.

    What stands in the padding is computed and never read; it has values that no word has.
    """

    def calibration(split: batches.Samples, spec: Mapping[str, Any], batch_size: int) -> Iterator[tensors.Inputs]:
        loading, by_length = batches.Loading(batch_size), Sorted(preprocess, split, spec)
        ordered = tensors.source(preprocess, by_length, spec, loading, targets=lambda _: None, cut=trim)
        for inputs, _ in batches.load(ordered, loading):
            yield inputs

    return calibration


def lengths(preprocess: tensors.Preprocess, split: batches.Samples, spec: Mapping[str, Any]) -> np.ndarray:
    """Tokens of every text as the model sees it, int64 (N,)."""
    mask = spec["inputs"][1]
    counts = (preprocess(split.raw(i), spec)[mask].sum() for i in range(len(split)))
    return np.fromiter(counts, np.int64, len(split))


class Sorted:
    """The samples of a split from the shortest text to the longest; `rank` says where each of them went."""

    def __init__(self, preprocess: tensors.Preprocess, split: batches.Samples, spec: Mapping[str, Any]) -> None:
        self.split, self.at = split, np.argsort(lengths(preprocess, split, spec), kind="stable")
        self.rank = np.argsort(self.at, kind="stable")
        self.targets = split.targets[self.at]

    def __len__(self) -> int:
        return len(self.at)

    def raw(self, i: int) -> Any:
        return self.split.raw(int(self.at[i]))
