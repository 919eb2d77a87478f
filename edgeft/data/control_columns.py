"""Which columns of a table of recorded control are observations and which are actions: by keys, else by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..config.data_keys import option
from ..core.errors import DataError, nearest
from .episodes import LASTS, NUMBERS

#: further names of the number of each step's episode, in lower case
EPISODES = (*NUMBERS, "ep", "traj", "trajectory", "run", "run_id", "trial", "rollout", "demo", "lap")
#: an action by its name, in lower case, perhaps with a number or a part behind it
_ACTION = re.compile(
    r"(actions?|acts?|act|a|u|controls?|ctrl|cmd|commands?|command|steering|steer|steering_angle|throttle|brake)"
    r"([ _.\-\[(/]?\d+[\])]?|[ _.\-\[(/][\w .]*[\])]?)?"
)
_OBSERVATION = re.compile(
    r"(observations?|obs|states?|s|x|o|features?)([ _.\-\[(/]?\d+[\])]?|[ _.\-\[(/][\w .]*[\])]?)?"
)
#: columns that are known only after the action, or that count steps
_AFTERWARDS = re.compile(r"(rewards?|rew|r|returns?|return_to_go|info|next[ _.\-].*)")
_STEPS = re.compile(
    r"(|unnamed: 0|index|id|step|steps|t|time|time_?step|time_?stamp|frame|frame_index|frame_id|seq|date)"
)


@dataclass(frozen=True)
class Keys:
    """Keys of [data] of a recording in a table."""

    observation_columns: tuple[str, ...] = option((), "columns of a .csv that are observed, in the network's order")
    action_columns: tuple[str, ...] = option((), "columns of a .csv that hold the actions")
    episode_column: str = option("", "column of a .csv with the number of each step's episode")


@dataclass(frozen=True)
class Roles:
    """Places of the columns of a table; `episode` is -1 where none has their numbers, `lasts` flag last steps."""

    observations: tuple[int, ...]
    actions: tuple[int, ...]
    episode: int
    lasts: tuple[int, ...]


def by_names(names: Sequence[str]) -> Roles:
    """The roles that names alone tell: actions and what goes with them; observations are the columns that remain.

    A column called as one of observations is one; where some are, the others are none.
    """
    lowered = [name.strip().lower() for name in names]
    episode = next((at for known in EPISODES for at, name in enumerate(lowered) if name == known), -1)
    lasts = tuple(at for at, name in enumerate(lowered) if name in LASTS)
    known = {episode, *lasts}
    actions = tuple(at for at, name in enumerate(lowered) if at not in known and _ACTION.fullmatch(name))
    known |= set(actions)
    inputs = [
        at
        for at, name in enumerate(lowered)
        if at not in known and not _AFTERWARDS.fullmatch(name) and not _STEPS.fullmatch(name)
    ]
    stated = [at for at in inputs if _OBSERVATION.fullmatch(lowered[at])]
    return Roles(tuple(stated or inputs), actions, episode, lasts)


def are_observations(names: Sequence[str]) -> bool:
    """Whether columns are all called as observations are."""
    return all(_OBSERVATION.fullmatch(name.strip().lower()) for name in names)


def roles_of(names: Sequence[str], keys: Keys, where: str) -> Roles:
    """The roles of columns by the keys of [data], by their names where a key is not set.

    Raises `DataError` for a column that is absent or twice there, and where no observation or action is known.
    """
    guess = by_names(names)
    episode = (
        _places([keys.episode_column], names, "data.episode_column", where)[0] if keys.episode_column else guess.episode
    )
    actions = _places(keys.action_columns, names, "data.action_columns", where) or guess.actions
    taken = {episode, *guess.lasts, *actions}
    inputs = tuple(at for at in guess.observations if at not in taken)
    observations = _places(keys.observation_columns, names, "data.observation_columns", where) or inputs

    for role, key, what in (
        (actions, "action_columns", "actions"),
        (observations, "observation_columns", "observations"),
    ):
        if not role:
            example = names[-1] if what == "actions" else names[0]
            raise DataError(
                f"no column is known to hold {what} among {', '.join(map(repr, names[:12]))}",
                where=where,
                remedy=f'name them: data.{key} = ["{example}"]',
            )

    if both := sorted(set(observations) & set(actions)):
        raise DataError(
            f"{names[both[0]]!r} is an observation and an action at once", where=where, remedy="name it for one of them"
        )

    return Roles(
        tuple(observations), tuple(actions), episode, tuple(at for at in guess.lasts if at not in observations)
    )


def _places(asked: Sequence[str], names: Sequence[str], key: str, where: str) -> tuple[int, ...]:
    places = []
    for name in asked:
        if names.count(name) != 1:
            problem = "twice the column" if name in names else "no column"
            raise DataError(f"has {problem} {name!r}, which {key} names", where=where, remedy=nearest(name, names))
        places.append(names.index(name))

    return tuple(places)
