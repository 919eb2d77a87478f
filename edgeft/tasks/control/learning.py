"""Learning to control by behaviour cloning (Pomerleau 1989): squared error, each control in units of its own spread.

A batch's targets are float32 (N, 2, K): the recorded controls, and the standard deviation of each over the whole split,
so that degrees and fractions of full throttle weigh alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ...core.errors import DataError
from ...learning import Learning, batches, tensors
from ..classify.learning import replace_head
from . import decoding as control

set_head = replace_head


def outputs(dataset: Any) -> int:
    """One output a control; raises `DataError` where the recorded controls never change."""
    if dataset.split("train").classes is not None:
        raise DataError(
            "the recorded actions are numbers of choices, and this task learns quantities",
            where=dataset.name,
            remedy='set task = "control-discrete", or data.actions = "continuous" where they are quantities',
        )

    targets = np.asarray(dataset.split("train").targets, np.float64)
    still = [str(k) for k, spread in zip(dataset.labels, np.ptp(targets, axis=0)) if not spread > 0]
    if len(still) == len(dataset.labels):
        raise DataError(f"the recorded controls ({', '.join(still)}) never change", where=dataset.name)

    return len(dataset.labels)


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """A row's width for `mlp`; channels where pictures are not taken as colour, and of stacks of frames."""
    if dataset.facts.get("kind") == "vector":
        return {"size": [int(dataset.facts["inputs"])], "channels": 1}
    if dataset.facts.get("kind") == "frames":
        return {"channels": int(dataset.facts["channels"])}
    return {} if data.channels == 3 else {"channels": data.channels}


def loss(outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Mean squared error of controls (N, K) in standard deviations; `smoothing` has no meaning here."""
    return _squared(outputs, targets[:, 0], targets[:, 1])


def distill(
    student: torch.Tensor,
    teacher: torch.Tensor,
    targets: torch.Tensor | None = None,
    temperature: float = 4.0,
    weight: float = 1.0,
) -> torch.Tensor:
    """The same distance to the teacher's controls, mixed with the recorded ones where `weight` is below 1."""
    spread = torch.ones_like(teacher) if targets is None else targets[:, 1]
    soft = _squared(student, teacher.detach(), spread)
    if weight >= 1 or targets is None:
        return soft
    return weight * soft + (1 - weight) * loss(student, targets)


def _squared(outputs: torch.Tensor, targets: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    return ((outputs - targets) / spread).pow(2).mean()


class Scaled:
    """Targets of a batch and the split's spread, float32 (N, 2, K)."""

    def __init__(self, targets: np.ndarray) -> None:
        spread = np.asarray(targets, np.float64).std(axis=0)
        self.spread = np.where(spread > 0, spread, 1.0).astype(np.float32)

    def __call__(self, targets: Sequence[Any]) -> torch.Tensor:
        values = np.stack([np.asarray(t, np.float32) for t in targets])
        return torch.from_numpy(np.stack([values, np.broadcast_to(self.spread, values.shape)], axis=1))


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches of pictures or rows; no augmentation: a mirrored or shifted view asks for other controls."""
    return tensors.source(control.preprocess, split, spec, loading, targets=Scaled(split.targets))


loader = batches.loader_of(_source)


def predict(
    module: nn.Module, split: batches.Samples, spec: Mapping[str, Any], batch_size: int = 64
) -> np.ndarray | dict[str, np.ndarray]:
    """Controls float32 (N, K) over `split` in order."""
    return tensors.predict(control.preprocess, module, split, spec, batch_size)


LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=set_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
    one_output=True,
)
