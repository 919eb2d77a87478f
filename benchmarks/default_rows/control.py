"""Balancing a pole (CartPole-v1): the return of a policy cloned from 57 recorded episodes of an expert.

The baseline is a linear policy on the same recordings: the sign of a least-squares fit of the actions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import Figures, Outcome, Row, trained

EPISODES, ENVIRONMENT = 100, "CartPole-v1"


def measure(data: Path, out: Path) -> Figures:
    from edgeft.measure import stats
    from edgeft.verify.closed_loop import returns

    file = data / "08_robotics" / "cartpole_expert" / "rollouts.npz"
    outcome = trained("control-discrete", file, out)
    before, after = (_acted(outcome, baseline) for baseline in (True, False))
    fitted = _linear(file)
    linear = returns(ENVIRONMENT, EPISODES, lambda seen, space: int(np.append(seen, 1) @ fitted > 0))
    drop = stats.paired_bootstrap(lambda i: float((before - after)[i].mean()), EPISODES)
    note = (
        f"Return lost from float to int8: {before.mean() - after.mean():+.1f}, paired 95 % interval [{drop[0]:.1f}, {drop[1]:.1f}]; the "
        f"same action on {100 * outcome.float:.1f} % (float) and {100 * outcome.quantized:.1f} % (int8) of {len(outcome.targets)} recorded states."
    )

    return Figures(
        float(before.mean()),
        float(after.mean()),
        stats.paired_bootstrap(lambda i: float(after[i].mean()), EPISODES),
        EPISODES,
        float(linear.mean()),
        outcome.minutes,
        notes=(note,),
    )


def _acted(outcome: Outcome, baseline: bool) -> np.ndarray:
    """The return of each episode, of the float baseline or of the artifact."""
    from edgeft.verify.closed_loop import returns

    bundle = outcome.bundle
    session, act = bundle.session(baseline=baseline), bundle.task.action

    def policy(seen: np.ndarray, space: object) -> object:
        return act(session.run(bundle.task.preprocess(np.asarray(seen), bundle.preprocess)), space)

    return returns(ENVIRONMENT, EPISODES, policy)


def _linear(file: Path) -> np.ndarray:
    """Weights and bias (5,) of the fit to actions of -1 and 1; each episode has one state more than actions."""
    with np.load(file) as arrays:
        ends = [*arrays["indices"], len(arrays["acts"])]
        drop = [end + episode for episode, end in enumerate(ends)]
        seen, acts = np.delete(arrays["obs"], drop, axis=0), arrays["acts"]
    design = np.column_stack([seen, np.ones(len(seen))])

    return np.linalg.lstsq(design, 2.0 * acts - 1, rcond=None)[0]


ROW = Row(
    name="control",
    task="control-discrete",
    data="CartPole-v1, 57 recorded episodes of an expert that earns 473",
    metric="return",
    goal=430.0,
    baseline="a linear policy",
    measure=measure,
)
