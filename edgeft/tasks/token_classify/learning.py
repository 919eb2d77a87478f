"""Learning to tag words: cross-entropy and distillation over the tokens that words begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...core.errors import DataError
from ...learning import Learning, balance, batches, tensors, texts
from ..classify.learning import replace_head
from .decoding import preprocess

#: the target of a token that no word begins with (torch's own for `cross_entropy`)
IGNORED = -100
set_head = replace_head


def outputs(dataset: Any) -> int:
    """One logit a tag; raises `DataError` for data without a tag but "O"."""
    if len(dataset.labels) < 3:
        raise DataError("there must be a tag beside O", where=dataset.name)
    return len(dataset.labels)


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """The data do not describe the form of an encoder."""
    return {}


def tags(targets: Sequence[Mapping[str, np.ndarray]]) -> torch.Tensor:
    """int64 (N, L), L as far as any word begins: the tag of a word at its first token, `IGNORED` elsewhere."""
    longest = max((int(target["at"].max(initial=0)) for target in targets), default=0) + 1
    table = np.full((len(targets), longest), IGNORED, np.int64)
    for row, target in zip(table, targets):
        read = target["at"] >= 0
        row[target["at"][read]] = target["tags"][read]
    return torch.from_numpy(table)


def _rows(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (words, C) and tags (words,) of logits (N, L, C) and targets (N, up to L)."""
    targets = targets.to(logits.device)
    present = targets != IGNORED
    return logits[:, : targets.shape[1]][present], targets[present]


def loss(
    logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean cross-entropy over the words of a batch, of logits (N, L, C); `weights` (C,) multiply a word of each tag."""
    rows, numbers = _rows(logits, targets)
    losses = F.cross_entropy(rows, numbers, label_smoothing=smoothing, reduction="none")
    if weights is not None:
        losses = losses * weights.to(losses)[numbers]
    return losses.sum() / max(1, len(numbers))


def distill(
    student: torch.Tensor,
    teacher: torch.Tensor,
    targets: torch.Tensor | None = None,
    temperature: float = 2.0,
    weight: float = 0.7,
) -> torch.Tensor:
    """`weight` * KL(teacher || student) of each word at `temperature`, times temperature squared, plus
    (1 - weight) * cross-entropy (Hinton et al. 2015). Without targets every token counts.
    """
    if targets is None:
        first, second = student.flatten(0, 1), teacher.flatten(0, 1)
    else:
        first, second = _rows(student, targets)[0], _rows(teacher, targets)[0]

    soft = F.kl_div(
        F.log_softmax(first / temperature, dim=1),
        F.log_softmax(second.detach() / temperature, dim=1),
        reduction="sum",
        log_target=True,
    )
    soft = soft * temperature**2 / max(1, len(first))

    if weight >= 1 or targets is None:
        return soft

    return weight * soft + (1 - weight) * loss(student, targets)


def class_weights(dataset: Any, kind: str) -> torch.Tensor | None:
    """Weights (C,) by how many words of the training data have each tag; None for "none"."""
    if kind == "none":
        return None
    numbers = np.concatenate([target["tags"] for target in dataset.split("train").targets])
    return balance.balanced(np.bincount(numbers, minlength=len(dataset.labels)), kind)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Logits float32 (N, L, C) over `split` in order, L as the artifact has it."""
    return tensors.predict(preprocess, module, split, spec, batch_size)


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=set_head,
    loss=loss,
    distill=distill,
    loader=batches.loader_of(texts.source_of(preprocess, tags)),
    predict=predict,
    class_weights=class_weights,
    calibration=texts.calibration_of(preprocess),
    trim=texts.trim,
)
