"""`tune --dry-run`: what a run would do, found out from data and model without training anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..config import recipe, target
from ..core.progress import phase
from ..data import Dataset
from ..data.overview import overview
from ..data_check import write_page
from ..learning import balance
from ..quantize.parts import insert_parts
from ..session.calibration_data import TryConversion
from ..session.session import Session
from . import lora, unfreezing, updates
from .memory import moving_bytes


def dry(session: Session, page: Path | None = None, try_conversion: TryConversion | None = None) -> dict[str, Any]:
    """`plan`; with `page`, also the page of `edgeft data check`: samples drawn with their labels."""
    result = plan(session, try_conversion)
    if page is not None:
        write_page(page, {**result["data"], "name": session.recipe.name}, _as_read(session), session.task)
    return {**result, "page": None if page is None else str(page)}


def plan(session: Session, try_conversion: TryConversion | None = None) -> dict[str, Any]:
    """What a run would do: counts, trainable parameters and their memory, compatibility problems of the targets."""
    module, head, t = session.built.module, session.built.head, session.recipe.train
    trainable = unfreezing.begin(module, head, session.recipe, session.example, pretrained=session.pretrained)
    trainable_names = trainable.at(t.epochs)
    updated = sum(p.numel() for n, p in module.named_parameters() if n in trainable_names)
    by_group = unfreezing.rates_of(session.learning.groups(module, head, **rates(t)))
    updates.apply(module, trainable_names)
    moving = moving_bytes(module, 1 if t.optimizer == "sgd" else 2)
    adapted = lora.merge(module)
    objections = {}
    with phase("capturing the graph"):
        captured = session.capture(module)
        for profile in session.targets:
            graphs = insert_parts(captured, profile.scheme, session.recipe.quantize.keep_float).graphs.values()
            problems = dict.fromkeys(o for graph in graphs for o in target.objections(profile, graph.summary))
            objections[profile.name] = [dataclasses.asdict(o) for o in problems]

    for name, error in ({} if try_conversion is None else try_conversion(session, captured)).items():
        refusal = target.Objection("refuse", error.where or "model", error.message, error.remedy)
        objections[name].append(dataclasses.asdict(refusal))

    weights = class_weights(session)
    return {
        "task": session.recipe.task,
        "samples": {name: len(split) for name, split in _as_read(session).splits.items()},
        "labels": list(session.dataset.labels),
        "data": overview(_as_read(session), session.recipe.data, session.task, session.findings),
        "preprocess": session.spec,
        "policy": session.policy,
        "updated_parameters": updated,
        "total_parameters": sum(p.numel() for p in module.parameters()),
        "learns": sorted(trainable_names),
        "moving_bytes": moving,
        "learning_rates": by_group,
        "unfreezing": trainable.schedule(t.epochs),
        "adapted_layers": adapted,
        "class_weights": weights,
        "notes": trainable.notes(t.epochs),
        "schemes": sorted(session.schemes),
        "objections": objections,
    }


def _as_read(session: Session) -> Dataset:
    """The data as they were read: pictures, not the windows of them that the model sees."""
    return session.dataset.original or session.dataset


def rates(train: recipe.Train) -> dict[str, float]:
    """The arguments of `Learning.groups` that [train] has."""
    return {
        "lr": train.lr,
        "head_lr": train.head_lr or train.lr,
        "weight_decay": train.weight_decay,
        "layer_decay": train.layer_decay,
    }


def class_weights(session: Session) -> dict[str, float]:
    """{label: weight} as `train.class_weights` has it, {} for "none"; `RecipeError` where a task has no classes."""
    kind = session.recipe.train.class_weights
    if kind == "none":
        return {}
    _require_classes(session)
    assert session.learning.class_weights is not None
    weights = session.learning.class_weights(session.dataset, kind)
    return {} if weights is None else {k: float(v) for k, v in zip(session.dataset.labels, weights)}


def weighted_loss(session: Session) -> Callable[[Any, Any], torch.Tensor] | None:
    """The task's loss with the weights of its classes in it; None for "none"."""
    kind = session.recipe.train.class_weights
    if kind == "none":
        return None
    _require_classes(session)
    return session.learning.weighted_loss(session.dataset, kind)


def _require_classes(session: Session) -> None:
    if session.learning.class_weights is None:
        raise balance.no_classes(f"the task {session.recipe.task!r} has no classes to weigh")
