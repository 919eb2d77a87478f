"""The closed loop: the return that float baseline and artifact earn in a gymnasium environment, episode by episode.

An error on recorded actions says little of a controller: small errors add up in states that were never recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..backends import Session
from ..bundle.reader import Bundle
from ..config.recipe import Gates
from ..core.errors import BundleError, Missing
from ..core.metric import Metric
from ..core.verdict import ADVISORY, FAIL, UNVERIFIED, Verdict
from ..data import worlds
from ..measure import stats
from ..tasks import Task
from .accuracy import decide

METRIC = Metric("return")
#: said of a task that acts, where no environment is named
OPEN_LOOP = (
    "an error on recorded actions is no return: the closed loop was not run. Name a gymnasium environment "
    "(gates.environment) to make its return a gate"
)
#: episodes begin from these seeds on, the same ones for float, quantized and random actions
SEED = 10_000


def closed_loop(task: Task, sessions: tuple[Session, Session], spec: Mapping[str, Any], gates: Gates) -> Verdict:
    """The drop of the mean return (positive = worse) from the float to the quantized of `sessions`, as a gate.

    `gates` names the environment, the number of episodes, and the drop that is allowed as a share of the float return.
    The interval is a paired bootstrap over episodes. Fails where the float policy earns no more than random actions.
    Raises `Missing` without gymnasium and `DataError` for an environment that it does not have or that does not fit.
    """
    before, after = (returns(gates.environment, gates.episodes, _policy(task, session, spec)) for session in sessions)
    luck = returns(gates.environment, gates.episodes, lambda _, space: space.sample())
    n, mean, name = gates.episodes, float(before.mean()), f"return of {gates.environment}"
    limit = gates.max_return_drop * abs(mean)
    shared = {"metric": name, "float": mean, "limit": limit, "n": n}
    low, _ = stats.paired_bootstrap(lambda i: float((before - luck)[i].mean()), n)

    if low <= 0:
        why = f"the float policy earns {mean:.4g}, random actions {luck.mean():.4g}: nothing could be lost"
        return Verdict("return", FAIL, why, **shared)  # type: ignore[arg-type]

    lost = before - after
    interval = stats.paired_bootstrap(lambda i: float(lost[i].mean()), n)
    verdict, why, n_to_decide = decide(METRIC, float(lost.mean()), interval, limit, n, gates.decide)
    text = f"{name} {mean:.4g} float, {after.mean():.4g} quantized: {why}, over {n} episodes"
    drop = {"quantized": float(after.mean()), "drop": float(lost.mean()), "ci95": interval, "n_to_decide": n_to_decide}

    return Verdict("return", verdict, text, **shared, **drop)  # type: ignore[arg-type]


def in_environment(opened: Bundle, session: Session, gates: Gates, threads: int, *, imports: bool) -> Verdict:
    """`closed_loop` of a bundle, whose artifact is `session`; unverified where gymnasium is not installed.

    So it is without `imports` where the name of the environment has a module ("module:Name-v0"), which gymnasium
    imports. Raises `BundleError` for a task without actions.
    """
    name, remedy = gates.environment, "export the bundle again"
    if opened.task.action is None:
        why = f"is {name!r}, and the task {opened.task.name} has no actions"
        raise BundleError(why, where="manifest.json: gates.environment", remedy=remedy)

    base: dict[str, Any] = {"metric": f"return of {name}", "required": False}
    if ":" in name and not imports:
        why = f"the closed loop was not run: {name} has a module to be imported, which no manifest decides; "
        return Verdict("return", UNVERIFIED, f"{why}`edgeft export` runs it, by the recipe", **base)

    baseline = opened.session(threads=threads, baseline=True)
    try:
        return closed_loop(opened.task, (baseline, session), opened.preprocess, gates)
    except Missing as error:
        why = f"the closed loop was not run: {error.message}; {error.remedy}"
        return Verdict("return", UNVERIFIED, why, **base)


def beside_return(accuracy: Verdict, gates: Gates) -> Verdict:
    """The accuracy gate where an environment is named: advisory, unless the recipe sets a limit for it itself."""
    if gates.environment and accuracy.verdict == UNVERIFIED:  # there are no labels: what the policy does is judged
        why = "the data have no labels; the return of the closed loop decides"
        return replace(accuracy, verdict=ADVISORY, why=why, required=False)
    if not gates.environment or gates.max_drop is not None or gates.max_drop_relative or not accuracy.n:
        return accuracy
    why = f"{accuracy.why}; the return of the closed loop decides"
    return replace(accuracy, verdict=ADVISORY, why=why, required=False)


def returns(name: str, episodes: int, policy: worlds.Policy) -> np.ndarray:
    """The return of each episode, float64 (episodes,); `policy(observation, action space)` gives the actions."""
    world = worlds.make(name, "gates.environment")
    totals = [worlds.play(world, policy, SEED + episode).total for episode in range(episodes)]
    world.close()
    return np.asarray(totals, np.float64)


def _policy(task: Task, session: Session, spec: Mapping[str, Any]) -> worlds.Policy:
    act = task.action
    assert act is not None  # the recipe is refused for a task without actions
    return lambda seen, space: act(session.run(task.preprocess(np.asarray(seen), spec)), space)
