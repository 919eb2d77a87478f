"""Learning vectors of texts: of all passages of a batch a query's own is to be the nearest.

The loss is a softmax over the batch's passages (multiple negatives ranking: Henderson et al., "Efficient natural
language response suggestion", 2017; with the scale of Reimers and Gurevych's sentence-transformers). The more pairs a
batch has, the more negatives each query sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...core.errors import DataError, ModelError
from ...learning import Learning, batches, tensors, texts
from .decoding import preprocess

#: what cosines are multiplied with before the softmax
SCALE = 20.0


def outputs(dataset: Any) -> int:
    """1, a vector a text, as wide as the encoder; raises `DataError` for data without pairs."""
    targets = dataset.split("train").targets
    if targets.ndim != 2 or targets.shape[1] != 2:
        raise DataError("the data has no queries and passages", where=dataset.name, remedy='format = "text-pairs"')
    return 1


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """The data do not describe the form of an encoder."""
    return {}


def set_head(module: nn.Module, head: str, size: int) -> None:
    """Raises `ModelError`: there is no classifier."""
    raise ModelError("a model of vectors has no head", where=type(module).__name__)


class _Pairs(torch.utils.data.Dataset[tuple[int, tuple[np.ndarray, ...], tuple[np.ndarray, ...], int]]):
    """(position, feeds of a query, feeds of its passage, number of the passage) for each query of a split that has its
    passage too (of a part of a split some may be absent)."""

    def __init__(self, split: batches.Samples, spec: Mapping[str, Any], cache_bytes: int) -> None:
        self.feeds = tensors.Feeds(preprocess, split, spec, cache_bytes)
        passage_at = {int(number): i for i, (number, is_query) in enumerate(split.targets) if not is_query}
        self.rows = [
            (i, passage_at[int(number)], int(number))
            for i, (number, is_query) in enumerate(split.targets)
            if is_query and int(number) in passage_at
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[int, tuple[np.ndarray, ...], tuple[np.ndarray, ...], int]:
        query, passage, number = self.rows[i]
        return i, self.feeds[query][1], self.feeds[passage][1], number


def _collate(batch: list[Any]) -> tuple[tensors.Inputs, torch.Tensor]:
    """Inputs (2 B, L), the queries and then their passages, as long as the longest; numbers of the passages (B,)."""
    _, queries, passages, numbers = zip(*batch)
    inputs = tuple(torch.from_numpy(np.stack(column)) for column in zip(*queries, *passages))
    return texts.trim(inputs), torch.tensor(numbers, dtype=torch.int64)


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    return batches.Source(_Pairs(split, spec, loading.cache_bytes), _collate)


def loss(vectors: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Mean cross-entropy of each query over the batch's passages, of vectors (2 B, width) and passage numbers (B,).

    The same passage as another query's answer is no negative.
    """
    queries, passages = vectors.chunk(2)
    targets = targets.to(vectors.device)
    scores = SCALE * queries @ passages.T
    same = (targets[:, None] == targets[None]) & ~torch.eye(len(targets), dtype=torch.bool, device=vectors.device)
    own = torch.arange(len(targets), device=vectors.device)
    return F.cross_entropy(scores.masked_fill(same, -1e4), own, label_smoothing=smoothing)


def distill(
    student: torch.Tensor,
    teacher: torch.Tensor,
    targets: torch.Tensor | None = None,
    temperature: float = 1.0,
    weight: float = 0.7,
) -> torch.Tensor:
    """`weight` * the mean squared distance of both vectors of a text (Reimers and Gurevych 2020), times `SCALE`, plus
    (1 - weight) * `loss`."""
    soft = SCALE * (student - teacher.detach()).pow(2).sum(1).mean()

    if weight >= 1 or targets is None:
        return soft

    return weight * soft + (1 - weight) * loss(student, targets)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Vectors float32 (N, width) over `split` in order; computed from the shortest text to the longest."""
    by_length = texts.Sorted(preprocess, split, spec)
    vectors = tensors.predict(preprocess, module, by_length, spec, batch_size, texts.trim)
    assert isinstance(vectors, np.ndarray)
    return vectors[by_length.rank] if len(by_length) else vectors


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=set_head,
    loss=loss,
    distill=distill,
    loader=batches.loader_of(_source),
    predict=predict,
    calibration=texts.calibration_of(preprocess),
    trim=texts.trim,
)
