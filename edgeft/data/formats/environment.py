"""Observations of a gymnasium environment, collected anew by the float policy itself: no file is read.

What this opens to was seen by random actions, since the policy is built after the data; `session/rollouts.py` puts what
the policy sees and does in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...config import recipe
from ...config.data_keys import option
from ...core.errors import DataError
from .. import worlds
from ..record import Format
from ..samples import NAMES, Dataset, Split

#: shares of the episodes of train, val and test
_SHARES = (0.6, 0.1, 0.3)
#: random episodes that the mean and std of each column come from, and steps of each that are looked at
_LOOKS, _STEPS = 10, 500


@dataclass(frozen=True)
class Keys:
    """The keys of [data] that this format has."""

    environment: str = option("", "gymnasium id of the environment that the policy acts in, such as Pendulum-v1")
    episodes: int = option(30, "how many episodes the policy acts in to be calibrated and compared on", low=10)
    most_steps: int = option(1000, "steps of an episode that are collected", low=1)


class Rows:
    """Observations float32 (T, K), episode after episode."""

    def __init__(self, name: str, rows: np.ndarray) -> None:
        self.name, self.rows = name, rows

    def __len__(self) -> int:
        return len(self.rows)

    def raw(self, i: int) -> np.ndarray:
        row: np.ndarray = self.rows[i]
        return row

    def source(self, i: int) -> str:
        return f"{self.name}[step {i}]"


def open(spec: recipe.Data) -> Dataset:
    """Ten random episodes of the environment; raises `DataError` where it is not named or does not fit, `Missing`
    without gymnasium."""
    keys = spec.options if isinstance(spec.options, Keys) else Keys(**spec.options)
    if not keys.environment:
        raise DataError("is empty", where="data.environment", remedy='name a gymnasium id, such as "Pendulum-v1"')

    world = worlds.make(keys.environment, "data.environment")
    inputs, labels = worlds.rows_of(world, keys.environment), worlds.controls_of(world, keys.environment)
    played = [worlds.play(world, lambda _, space: space.sample(), seed, _STEPS) for seed in range(_LOOKS)]
    world.close()
    rows = np.concatenate([episode.seen for episode in played]).astype(np.float32)
    facts = {
        "kind": "vector",
        "inputs": inputs,
        **figures(rows),
        "unlabelled": True,
        "environment": {"name": keys.environment, "episodes": keys.episodes, "most_steps": keys.most_steps},
    }
    acts = [actions_of(episode, len(labels)) for episode in played]

    return divided(keys.environment, labels, [episode.seen for episode in played], acts, facts)


def figures(rows: np.ndarray) -> dict[str, list[float]]:
    """Mean and standard deviation of each column of observations (T, K); 1 for a column that is constant."""
    std = rows.std(axis=0)
    return {"mean": rows.mean(axis=0).tolist(), "std": np.where(std > 0, std, 1.0).tolist()}


def actions_of(episode: worlds.Episode, controls: int) -> np.ndarray:
    """What was done as numbers, float32 (T, controls): choices as one of them at 1."""
    acts = np.asarray(episode.actions)
    if acts.dtype.kind in "iu" and acts.ndim == 1 and controls > 1:
        first: np.ndarray = np.eye(controls, dtype=np.float32)[(acts - acts.min()) % controls]
        return first
    flat: np.ndarray = acts.reshape(len(acts), -1).astype(np.float32)
    return flat


def divided(
    name: str,
    labels: tuple[str, ...],
    seen: list[np.ndarray],
    acts: list[np.ndarray],
    facts: dict[str, Any],
) -> Dataset:
    """A data set of whole episodes: the first ones train, the last ones test."""
    ends = np.cumsum(np.round(np.array(_SHARES) * len(seen)).astype(int))
    ends[-1] = len(seen)
    pool, targets = Rows(name, np.concatenate(seen).astype(np.float32)), np.concatenate(acts)
    steps = np.cumsum([0, *(len(rows) for rows in seen)])
    splits, start = {}, 0

    for split, end in zip(NAMES, ends):
        at = np.arange(steps[start], steps[end])
        splits[split], start = Split(split, pool, at, targets[at]), int(end)

    return Dataset(name, labels, splits, [], facts)


FORMAT = Format(
    name="environment",
    description="Observations that the float policy collects in a gymnasium environment.",
    open=open,
    keys=(),
    options=Keys,
)
