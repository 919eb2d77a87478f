"""What a float policy sees and does in an environment, as the data that it is calibrated and compared on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import data
from ..core.progress import track
from ..data import worlds
from ..data.formats import environment

#: episodes are collected from this seed on: others than those that the gate runs
SEED = 50_000
#: every other episode takes so many of its actions at random, so that ways back to the path are seen too
SHAKEN = 0.1


def collected(dataset: data.Dataset, task: Any, module: nn.Module, spec: dict[str, Any]) -> data.Dataset:
    """`dataset` with the observations of the float policy `module` in place of random ones; targets are its outputs.

    Its facts `mean` and `std` are those of the training split's columns.
    Raises what `worlds.make` raises, and `DataError` where the model has another number of controls than the
    environment takes.
    """
    told = dataset.facts["environment"]
    world = worlds.make(told["name"], "data.environment")
    rng = np.random.default_rng(SEED)
    module.eval()
    seen, outputs = [], []

    with torch.no_grad():
        for episode in track(range(told["episodes"]), "acting in the environment", unit="episode"):
            answers: list[np.ndarray] = []

            def act(observation: Any, space: Any, shaken: bool = episode % 2 == 1, answers: Any = answers) -> Any:
                (feed,) = task.preprocess(np.asarray(observation), spec).values()
                answers.append(module(torch.from_numpy(feed)).numpy())
                if shaken and rng.random() < SHAKEN:
                    return space.sample()
                return task.action({"output": answers[-1]}, space)

            seen.append(worlds.play(world, act, SEED + episode, told["most_steps"]).seen)
            outputs.append(np.concatenate(answers))

    world.close()
    fresh = environment.divided(dataset.name, dataset.labels, seen, outputs, {})
    train = fresh.split("train")
    facts = {**dataset.facts, **environment.figures(np.stack([train.raw(i) for i in range(len(train))]))}

    return dataclasses.replace(dataset, splits=fresh.splits, facts=facts)
