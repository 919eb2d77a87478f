"""What both stages, the dry run and the export share of a recipe: task, data, model and preprocessing, read once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import data, models, objectives, recipe, target, tasks
from ..errors import RecipeError
from ..models import Built
from ..recipe import Recipe
from ..scheme import Scheme
from ..target import Target
from . import environment

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""


@dataclass
class Session:
    """Everything that both stages, the dry run and the export share: read once, passed on."""

    recipe: Recipe
    task: Any
    objective: Any
    dataset: data.Dataset
    built: Built
    spec: dict[str, Any]
    targets: list[Target]
    example: tuple[torch.Tensor, ...]

    @property
    def schemes(self) -> dict[str, Scheme]:
        """By name, in the order of the recipe's targets."""
        return {t.scheme.name: t.scheme for t in self.targets}

    @property
    def policy(self) -> str:
        return self.recipe.update.policy


def open_session(
    recipe_: Recipe,
    *,
    allow_code: bool = False,
    model: nn.Module | None = None,
    dataset: data.Dataset | None = None,
    say: Say = silent,
) -> Session:
    """Read data and model of a recipe; `model` and `dataset` replace the recipe's own (the Python API)."""
    task = tasks.get(recipe_.task)
    objective = objectives.get(recipe_.task)
    opened = [target.load(name) for name in recipe_.export.targets]
    dataset = dataset or data.open(recipe_.data)
    for warning in data.check(dataset):
        say(f"warning: {warning}")
    environment.seed_everything(recipe_.train.seed)
    if model is None:
        built = models.build(_with_channels(recipe_), len(dataset.labels), allow_code=allow_code)
    else:
        built = models.from_module(model, len(dataset.labels))
    for note in built.notes:
        say(note)
    spec = preprocess_spec(recipe_.data, built, say)
    feeds = task.preprocess(dataset.split("train").raw(0), spec)
    example = tuple(torch.from_numpy(np.concatenate([v, v])) for v in feeds.values())
    return Session(recipe_, task, objective, dataset, built, spec, opened, example)


def _with_channels(recipe_: Recipe) -> recipe.Model:
    """The model table; builtin nets and timm build their first layer for data.channels where it is not 3."""
    if recipe_.data.channels == 3 or "channels" in recipe_.model.args:
        return recipe_.model
    return dataclasses.replace(recipe_.model, args={**recipe_.model.args, "channels": recipe_.data.channels})


def preprocess_spec(spec: recipe.Data, built: Built, say: Say) -> dict[str, Any]:
    """The manifest's preprocess table: the weights' own default, replaced by what the recipe states (and told so)."""
    result = dict(built.spec)
    if spec.size:
        result["size"] = [spec.size, spec.size]
    result["resize"] = spec.resize or result["resize"]
    for key in ("mean", "std"):
        stated = list(getattr(spec, key))
        if not stated:
            continue
        if built.pretrained and not np.allclose(stated, result[key], atol=5e-3):
            say(
                f"warning: data.{key} = {stated} differs from what the weights were trained with, {result[key]}; "
                "a wrong normalization costs accuracy silently"
            )
        result[key] = stated
    for key in ("mean", "std"):
        if len(result[key]) == 1:
            result[key] = result[key] * result["channels"]
        if len(result[key]) != result["channels"]:
            raise RecipeError(f"data.{key} has {len(result[key])} values for {result['channels']} channels")
    return result
