"""Gymnasium's environments: made by name, and acted in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import DataError, need

#: (observation, action space) -> the action that the environment takes
Policy = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Episode:
    """What was seen before each step, float32 (T, ...), the actions, one a step, and the sum of the rewards."""

    seen: np.ndarray
    actions: list[Any]
    total: float


def make(name: str, where: str) -> Any:
    """The gymnasium environment called `name`, which the key `where` of a recipe names.

    Raises `Missing` without gymnasium and `DataError` for an environment that it does not have.
    """
    gymnasium = need("gymnasium", "closed-loop")
    try:
        return gymnasium.make(name)
    except Exception as error:  # gymnasium and its environments raise errors of many types
        raise DataError(
            f"gymnasium has no environment {name!r} that can be made here ({type(error).__name__}: {error})",
            where=where,
            remedy="name one that `gymnasium.make` takes, and install what it needs",
        ) from error


def play(world: Any, policy: Policy, seed: int, most: int = 0) -> Episode:
    """One episode from a seed on, at most `most` steps (0 = until it ends)."""
    observation, _ = world.reset(seed=seed)
    world.action_space.seed(seed)
    seen: list[np.ndarray] = []
    actions: list[Any] = []
    total, over = 0.0, False

    while not over and not 0 < most <= len(actions):
        seen.append(np.asarray(observation))
        actions.append(policy(observation, world.action_space))
        observation, reward, ended, cut, _ = world.step(actions[-1])
        total += float(reward)
        over = bool(ended or cut)

    return Episode(np.stack(seen), actions, total)


def rows_of(world: Any, name: str) -> int:
    """The width of the observations of an environment; raises `DataError` where they are no rows of numbers."""
    space = world.observation_space
    if getattr(space, "shape", None) is None or len(space.shape) != 1 or hasattr(space, "n"):
        raise DataError(f"{name} shows {space}: observations are read as rows of numbers", where="data.environment")
    return int(space.shape[0])


def controls_of(world: Any, name: str) -> tuple[str, ...]:
    """The names of the numbers that a policy gives in an environment: one an action, or one a choice.

    Raises `DataError` for a space of another kind.
    """
    space = world.action_space
    if hasattr(space, "n") and getattr(space, "shape", None) == ():
        return tuple(f"choice_{number}" for number in range(int(space.n)))
    if hasattr(space, "low") and space.shape:
        return tuple(f"action_{number}" for number in range(int(np.prod(space.shape))))
    raise DataError(
        f"{name} takes {space}: continuous actions, or one of several choices, are read", where="data.environment"
    )
