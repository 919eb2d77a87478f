"""Learning numbers of rows: squared error in units of the target's standard deviation.

The head begins at the target's mean and spread, and its learning rate is multiplied by that spread: to AdamW, whose
steps do not depend on the size of gradients, a price of 250,000 is then as easy as a share of 0.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from ...inputs import columns
from ...learning import Learning, batches, rows
from ...learning.groups import groups as parameter_groups
from ..classify.learning import replace_head
from ..control.learning import Scaled, distill, loss, outputs
from ..tabular.learning import augmentation, predict


def model_args(data: Any, dataset: Any) -> dict[str, Any]:
    """How many numbers a row becomes, and mean and spread of the targets of the training rows."""
    targets = np.asarray(dataset.split("train").targets, np.float64)
    spread = float(targets.std())
    return {
        "size": [int(dataset.facts["inputs"])],
        "channels": 1,
        "output_mean": float(targets.mean()),
        "output_std": spread if spread > 0 else 1.0,
    }


def groups(module: nn.Module, head: str, lr: float, head_lr: float = 0.0, **further: Any) -> list[dict[str, Any]]:
    """Those of every task, where the head's rate is in units of its outputs' spread and nothing pulls it to 0."""
    spread = float(getattr(module, "output_std", 1.0))
    made = parameter_groups(module, head, lr, head_lr, **further)
    for group in made:
        if str(group["name"]).startswith("head"):
            group["lr"] = group["lr"] * spread
            group["weight_decay"] = 0.0
    return made


def _source(split: batches.Samples, spec: Mapping[str, Any], loading: batches.Loading) -> batches.Source:
    """Batches (rows, targets and their spread (N, 2, 1))."""
    augment = augmentation(loading.augment)
    return rows.source(columns.preprocess, split, spec, loading, targets=Scaled(split.targets), augment=augment)


loader = batches.loader_of(_source)

LEARNING = Learning(
    outputs=outputs,
    model_args=model_args,
    set_head=replace_head,
    loss=loss,
    distill=distill,
    loader=loader,
    predict=predict,
    groups=groups,
)
