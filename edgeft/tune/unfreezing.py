"""The trainable parameters of the float stage by epoch: the update policy, its adapters, and gradual unfreezing.

Gradual unfreezing (Howard & Ruder, "Universal Language Model Fine-tuning", 2018) trains only the new head at first,
then the highest block too, then the next one down, so that the gradients of a random head do not disturb the pretrained
blocks. Which blocks are unfrozen is a function of the epoch alone, so a resumed run continues where it was.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..config.recipe import Recipe, Update
from ..core.errors import RecipeError
from ..learning.blocks import ADAPTER, blocks, depths, under
from ..quantize.graph import QuantizedGraph
from ..quantize.parts import QuantizedParts
from . import batch_norm, lora, sparse, updates


@dataclass(frozen=True)
class TrainableParameters:
    """`steps`: trainable names in the order of unfreezing: the head, then blocks downwards, `every` epochs each.

    `adapters` {layer: Adapter} hang in the module under the policy `lora`; `warnings` are for the user.
    """

    names: frozenset[str]
    steps: tuple[frozenset[str], ...]
    every: int = 0
    adapters: dict[str, lora.Adapter] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    plan: sparse.Plan | None = None

    def at(self, epoch: int) -> frozenset[str]:
        """The trainable names of an epoch, counted from 1."""
        if not self.every:
            return self.names
        return frozenset().union(*self.steps[: 1 + (max(epoch, 1) - 1) // self.every])

    def schedule(self, epochs: int) -> list[str]:
        """What is unfrozen when, in words; empty where everything is trainable from the start."""
        if not self.every:
            return []
        starts = [1 + self.every * i for i in range(len(self.steps))]
        return [f"from epoch {start}: {_name(part)}" for start, part in zip(starts, self.steps) if start <= epochs]

    def notes(self, epochs: int) -> list[str]:
        """What a user should know of it before it starts."""
        lines = [f"warning: {text}" for text in self.warnings]
        if self.every:
            last = 1 + (max(epochs, 1) - 1) // self.every
            lines.append(
                f"gradual unfreezing: the head first, then one more of {len(self.steps) - 1} blocks "
                f"every {self.every} epoch(s)"
            )
            if last < len(self.steps):
                lines.append(
                    f"warning: {epochs} epochs unfreeze {last - 1} of {len(self.steps) - 1} blocks; to unfreeze "
                    f"all of them set train.epochs = {self.every * len(self.steps)} or more"
                )

        if self.adapters:
            count = sum(p.numel() for a in self.adapters.values() for p in a.parameters())
            lines.append(f"LoRA: {count:,} parameters on {len(self.adapters)} layers, merged into them afterwards")

        return lines


def begin(
    module: nn.Module,
    head: str,
    recipe: Recipe,
    example: Sequence[torch.Tensor],
    *,
    pretrained: bool = True,
    plan: sparse.Plan | None = None,
) -> TrainableParameters:
    """Make `module` ready for the float stage: adapters added, and exactly the trainable parameters require a gradient.

    `plan` is that of the policy "auto"; without one (a dry run) the head alone is trainable. Raises `RecipeError` where
    nothing can be adapted or unfrozen.
    """
    update, interval = recipe.update, recipe.train.unfreeze
    adapters = lora.add(module, head, update, example, recipe.train.seed) if update.policy == "lora" else {}
    if update.policy == "auto" and not update.memory_budget:
        raise RecipeError(
            "is what update.policy = 'auto' plans under", where="update.memory_budget", remedy='memory_budget = "64MiB"'
        )

    if update.policy == "sparse" and not (update.biases or update.weights):
        raise RecipeError(
            "= 'sparse' needs update.biases or update.weights",
            where="update.policy",
            remedy='for example weights = { "layer4" = 0.25 }, or policy = "head"',
        )

    if update.policy == "sparse":
        plan = sparse.plan(module, update.biases, update.weights)
    if plan is not None:
        sparse.mark(module, plan)

    names = updates.trainable(module, head, update.policy, plan)
    updates.apply(module, names)
    steps = [frozenset(n for n in names if under(n, head))]
    steps += [part for block in reversed(blocks(module, head)) if (part := frozenset(names & set(block)))]
    if interval and len(steps) < 2:
        raise RecipeError(
            f"train.unfreeze: under update.policy = {update.policy!r} only the head is trainable",
            remedy="take another policy, or leave train.unfreeze out",
        )

    warnings = _warnings(update, pretrained, plan)
    if recipe.train.norm_stats == "freeze" and not pretrained and batch_norm.has_batch_norm(module):
        warnings.append(
            "train.norm_stats = 'freeze' keeps BatchNorm statistics that were never measured: set 'update', or give "
            "model.weights"
        )

    return TrainableParameters(frozenset(names), tuple(steps), interval, adapters, tuple(warnings), plan)


def _name(names: Collection[str]) -> str:
    """What a block may be called: the longest dotted name that all its parameters share."""
    parts = [[part for part in name.split(".")[:-1] if part != ADAPTER] for name in sorted(names)]
    shared = [same[0] for same in itertools.takewhile(lambda same: len(set(same)) == 1, zip(*parts))]
    return ".".join(shared) or ".".join(parts[0])


def rates_of(groups: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """{group: learning rate} of `Learning.groups`; a group of vectors has the rate of its group of weights."""
    return {str(group["name"]).removesuffix("_plain"): float(group["lr"]) for group in groups}


def decay_in_graph(
    graph: QuantizedGraph | QuantizedParts, module: nn.Module, head: str, decay: float
) -> dict[str, float]:
    """{parameter of the captured graph: factor of its rate} under `train.layer_decay`; what is not named has 1.

    A bias that a norm left and the scale of a weight go with the weight; scales of activations have the full rate.
    """
    if decay == 1:
        return {}

    depth = depths(module, head)
    weights = {f"{fake}.log_scale": weight for weight, fake in graph.weight_of.items()}
    decayed = {}

    for name, _ in graph.module.named_parameters():
        original = weights.get(name, name)
        below = depth.get(original, depth.get(f"{original.rpartition('.')[0]}.weight", 0))
        if below:
            decayed[name] = decay**below

    return decayed


def _warnings(update: Update, pretrained: bool, plan: sparse.Plan | None = None) -> list[str]:
    """Warnings about keys of [update] without effect under the policy, and a policy that freezes random weights."""
    keys = ("rank", "alpha", "dropout", "layers") if update.policy != "lora" else ()
    default: Any = Update()
    messages = [
        f"update.{key} only has an effect under update.policy = 'lora'"
        for key in keys
        if getattr(update, key) != getattr(default, key)
    ]
    if update.policy != "sparse" and (update.biases or update.weights):
        messages.append("update.biases and update.weights only have an effect under update.policy = 'sparse'")
    if update.policy == "auto" and plan is None:
        messages.append("the trainable parameters are planned when training starts; this dry run counts the head alone")
    if update.policy != "full" and not pretrained:
        messages.append(f"update.policy = {update.policy!r} keeps weights that were never trained: give model.weights")

    return messages
