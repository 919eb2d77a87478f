"""Learning to classify texts: cross-entropy and distillation as in `classify`, on batches of token ids and masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from ..tasks import text_classify
from . import batches, tensors
from .classify import distill, groups, loss, outputs, set_head, weighted, weights

__all__ = [
    "distill", "groups", "loader", "loss", "model_args", "outputs", "predict", "set_head", "weighted", "weights",
]  # fmt: skip


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """The data says nothing of an encoder's form."""
    return {}


def loader(
    split: batches.Samples,
    spec: Mapping[str, Any],
    batch_size: int,
    augment: str = "none",
    seed: int = 0,
    workers: int = 0,
    shuffle: bool = False,
    drop_last: bool = False,
) -> batches.Batches:
    """Batches (input_ids, attention_mask), both int32 (N, L), and class numbers (N,); texts are not augmented."""
    return tensors.loader(
        text_classify.preprocess,
        split,
        spec,
        batch_size,
        seed=seed,
        workers=workers,
        shuffle=shuffle,
        drop_last=drop_last,
    )


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Logits float32 (N, C) over `split` in order."""
    return tensors.predict(text_classify.preprocess, module, split, spec, batch_size)
