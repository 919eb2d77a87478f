"""Learning to classify texts: cross-entropy and distillation as in `classify`, on batches of token ids and masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ...learning import Learning, batches, tensors
from ..classify.learning import class_weights, distill, loss, outputs, set_head
from . import decoding as text_classify


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """The data says nothing of an encoder's form."""
    return {}


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches (input_ids, attention_mask), both int32 (N, L), and class numbers (N,); texts are not augmented.

    L is the length of the batch's longest text. A shuffled batch holds texts of similar length, so that little of it is
    padding.
    """
    similar = (lambda: lengths(split, spec)) if loading.shuffle else None
    return tensors.source(text_classify.preprocess, split, spec, loading, lengths=similar, cut=trim)


loader = batches.loader_of(_source)


def trim(inputs: tensors.Inputs) -> tensors.Inputs:
    """(ids, mask), both (N, L), without the columns that are padding in every row; at least three columns stay."""
    ids, mask = inputs
    used = max(3, int((mask.any(0) * torch.arange(1, mask.shape[1] + 1)).max()))
    return ids[:, :used], mask[:, :used]


def calibration(split: batches.Samples, spec: Mapping[str, Any], batch_size: int) -> Iterator[tensors.Inputs]:
    """Inputs to calibrate with: from the shortest text to the longest, so that ranges are those of words.

    What stands in the padding is computed and never read; it has values that no word has.
    """
    loading = batches.Loading(batch_size)
    ordered = tensors.source(text_classify.preprocess, Sorted(split, spec), spec, loading, cut=trim)
    for inputs, _ in batches.load(ordered, loading):
        yield inputs


def lengths(split: batches.Samples, spec: Mapping[str, Any]) -> np.ndarray:
    """Tokens of every text as the model sees it, int64 (N,)."""
    mask = spec["inputs"][1]
    counts = (text_classify.preprocess(split.raw(i), spec)[mask].sum() for i in range(len(split)))
    return np.fromiter(counts, np.int64, len(split))


class Sorted:
    """The samples of a split from the shortest text to the longest; `rank` says where each of them went."""

    def __init__(self, split: batches.Samples, spec: Mapping[str, Any]) -> None:
        self.split, self.at = split, np.argsort(lengths(split, spec), kind="stable")
        self.rank = np.argsort(self.at, kind="stable")
        self.targets = split.targets[self.at]

    def __len__(self) -> int:
        return len(self.at)

    def raw(self, i: int) -> Any:
        return self.split.raw(int(self.at[i]))


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Logits float32 (N, C) over `split` in order; computed from the shortest text to the longest."""
    by_length = Sorted(split, spec)
    outputs = tensors.predict(text_classify.preprocess, module, by_length, spec, batch_size, trim)
    assert isinstance(outputs, np.ndarray)
    return outputs[by_length.rank] if len(by_length) else outputs


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=set_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
    one_output=True,
    class_weights=class_weights,
    calibration=calibration,
    trim=trim,
)
