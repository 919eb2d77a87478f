"""Data without labels: the float model's own answers stand in their place, so that agreement with it is seen."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from torch import nn

from .. import data
from ..config.recipe import Recipe
from ..core.errors import RecipeError
from ..core.progress import phase
from ..learning import Learning
from . import rollouts

_BATCH = 32


def answered(
    dataset: data.Dataset, task: Any, learning: Learning, module: nn.Module, spec: dict[str, Any], asked: Recipe
) -> data.Dataset:
    """`dataset` with what `module` decides as its targets, on observations of its own where they are an environment's.

    Raises `RecipeError` where the recipe would train on labels.
    """
    for key, trains in (("train.epochs", asked.train.epochs > 0), ("quantize.method", asked.quantize.method == "qat")):
        if trains:
            raise RecipeError(
                "the data have no labels to train on",
                where=key,
                remedy='train.epochs = 0 and quantize.method = "ptq" quantize the model as it is',
            )

    if "environment" in dataset.facts:
        return rollouts.collected(dataset, task, module, spec)

    splits = {name: dataset.split(name) for name in dataset.splits}
    module.eval()
    with phase("asking the float model"):
        for name in splits:
            nothing = np.zeros(len(splits[name]), np.int64)  # loaders hand targets on, and these are not read
            outputs = learning.predict(module, dataclasses.replace(splits[name], targets=nothing), spec, _BATCH)
            decided = task.decisions(outputs if isinstance(outputs, dict) else {"output": outputs})
            splits[name] = dataclasses.replace(splits[name], targets=np.asarray(decided))

    return dataclasses.replace(dataset, splits=splits)
