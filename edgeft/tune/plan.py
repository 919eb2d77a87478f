"""`tune --dry-run`: what a run would do, found out from data and model without training anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from ..config import recipe, target
from ..learning import balance
from ..quantize.parts import insert_parts
from ..session.session import Session
from . import learning, lora, updates
from .memory import moving_bytes


def plan(session: Session) -> dict[str, Any]:
    """What a run would do: counts, trainable parameters and their memory, compatibility problems of the targets."""
    module, head, t = session.built.module, session.built.head, session.recipe.train
    learns = learning.begin(module, head, session.recipe, session.example, pretrained=session.pretrained)
    learned = learns.at(t.epochs)
    updated = sum(p.numel() for n, p in module.named_parameters() if n in learned)
    by_group = learning.rates_of(session.objective.groups(module, head, **rates(t)))
    updates.apply(module, learned)
    moving = moving_bytes(module, 1 if t.optimizer == "sgd" else 2)
    adapted = lora.merge(module)
    captured = session.capture(module)
    objections = {}
    for profile in session.targets:
        graphs = insert_parts(captured, profile.scheme, session.recipe.quantize.keep_float).graphs.values()
        problems = dict.fromkeys(o for graph in graphs for o in target.objections(profile, graph.summary))
        objections[profile.name] = [dataclasses.asdict(o) for o in problems]
    weights = class_weights(session)
    return {
        "task": session.recipe.task,
        "samples": {name: len(split) for name, split in session.dataset.splits.items()},
        "labels": list(session.dataset.labels),
        "preprocess": session.spec,
        "policy": session.policy,
        "updated_parameters": updated,
        "total_parameters": sum(p.numel() for p in module.parameters()),
        "learns": sorted(learned),
        "moving_bytes": moving,
        "learning_rates": by_group,
        "unfreezing": learns.schedule(t.epochs),
        "adapted_layers": adapted,
        "class_weights": weights,
        "notes": learns.notes(t.epochs),
        "schemes": sorted(session.schemes),
        "objections": objections,
    }


def rates(train: recipe.Train) -> dict[str, float]:
    """What an objective's `groups` takes of [train]."""
    return {
        "lr": train.lr,
        "head_lr": train.head_lr or train.lr,
        "weight_decay": train.weight_decay,
        "layer_decay": train.layer_decay,
    }


def class_weights(session: Session) -> dict[str, float]:
    """{label: weight} as `train.class_weights` has it, {} for "none"; `RecipeError` where a task has no classes."""
    weighing = _weighing(session)
    weights = weighing.weights(session.dataset, session.recipe.train.class_weights) if weighing else ()
    return {label: float(weight) for label, weight in zip(session.dataset.labels, weights)}


def weighted_loss(session: Session) -> Callable[[Any, Any], torch.Tensor] | None:
    """The task's loss with the weights of its classes in it; None where there are none to be had or wanted."""
    weighing = _weighing(session)
    return weighing.weighted(session.dataset, session.recipe.train.class_weights) if weighing else None


def _weighing(session: Session) -> Any:
    """The objective, where classes are to be weighed; `RecipeError` where it cannot."""
    if session.recipe.train.class_weights == "none":
        return None
    if not hasattr(session.objective, "weighted"):
        raise balance.no_classes(f"the task {session.recipe.task!r} has no classes to weigh")
    return session.objective
