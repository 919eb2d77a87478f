"""Learning to classify texts: cross-entropy and distillation as in `classify`, on batches of token ids and masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from ...learning import Learning, batches, tensors, texts
from ..classify.learning import class_weights, distill, loss, outputs, set_head
from .decoding import preprocess

loader = batches.loader_of(texts.source_of(preprocess))
trim, calibration = texts.trim, texts.calibration_of(preprocess)


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """The data do not describe the form of an encoder."""
    return {}


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Logits float32 (N, C) over `split` in order; computed from the shortest text to the longest."""
    by_length = texts.Sorted(preprocess, split, spec)
    outputs = tensors.predict(preprocess, module, by_length, spec, batch_size, trim)
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
