"""Learning to choose by behaviour cloning: cross-entropy and distillation as in `classify`, on rows or pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from ...core.errors import DataError
from ...learning import Learning, batches, tensors
from ..classify.learning import class_weights, distill, loss, replace_head
from ..control import decoding as control
from ..control.learning import model_args


def outputs(dataset: Any) -> int:
    """One logit a choice; raises `DataError` where actions are no choices, and where there is one alone."""
    if dataset.split("train").classes is None:
        raise DataError(
            "the recorded actions are quantities, and this task learns choices",
            where=dataset.name,
            remedy='set data.actions = "discrete" where they are numbers of choices, else task = "control"',
        )

    if len(dataset.labels) < 2:
        raise DataError("only one action was ever chosen, and a policy needs two or more", where=dataset.name)
    return len(dataset.labels)


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches (rows or pictures, numbers of choices); no augmentation: another view asks for another action."""
    return tensors.source(control.preprocess, split, spec, loading)


loader = batches.loader_of(_source)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Logits float32 (N, choices) over `split` in order."""
    return tensors.predict(control.preprocess, module, split, spec, batch_size)


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=replace_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
    one_output=True,
    class_weights=class_weights,
)
