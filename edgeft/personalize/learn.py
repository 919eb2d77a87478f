"""Steps of training on the device: most of every batch is replayed against forgetting.

Replay of stored latents: Pellegrini et al., "Latent replay for real-time continual learning" (2020). A class that the
model has never seen starts from its prototype (Qi et al., "Low-shot learning with imprinted weights", 2018).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..backends import Session
from ..core.errors import DataError
from ..core.progress import counted
from . import graphs
from .plan import Plan

Arrays = list[np.ndarray]
#: of a batch. Three quarters lost less of the old than a half, for as much of the new in three times as many steps
REPLAYED = 0.75


def one_hot(targets: np.ndarray, plan: Plan, classes: int) -> np.ndarray:
    """float32 (n, outputs) for classes; targets of a regression as they are."""
    if plan.loss == "mse":
        return targets.astype(np.float32).reshape(len(targets), -1)
    rows: np.ndarray = np.eye(classes, dtype=np.float32)[targets]
    return rows


def steps(
    step: Session,
    plan: Plan,
    parameters: Arrays,
    batch: Callable[[], tuple[Arrays, np.ndarray]],
    count: int,
    *,
    rate: float,
    watch: Callable[[int, float], None] = lambda number, loss: None,
) -> Arrays:
    """`count` steps from `parameters`; `batch()` gives latents and targets of one. `watch(number, loss)`.

    Raises `DataError` when the loss or a parameter is no longer finite: nothing of it may be used.
    """
    state = graphs.fresh_state(plan)
    parameters = [np.ascontiguousarray(p, np.float32) for p in parameters]
    names = [f"new_parameter_{i}" for i in range(len(parameters))]

    for number in counted(range(1, count + 1), unit="step"):
        feeds = graphs.step_feeds(plan, parameters, state, *batch())
        result = step.run({**feeds, "rate": np.full(1, rate, np.float32)})
        parameters = [result[name] for name in names]
        state = [result[f"new_{name}"] for name, _ in plan.state]
        loss = float(result["loss"].reshape(-1)[0])
        if not np.isfinite(loss) or not all(np.isfinite(p).all() for p in parameters):
            raise DataError(
                f"training diverged in step {number}: the loss is {loss}",
                where="personalize",
                remedy="lower the learning rate (--rate), or look at the samples",
            )
        watch(number, loss)

    return parameters


def mixed(
    plan: Plan, new: tuple[Arrays, np.ndarray], replay: tuple[Arrays, np.ndarray], seed: int
) -> Callable[[], tuple[Arrays, np.ndarray]]:
    """Batches of new samples and replayed ones, `REPLAYED` of each; both are latents and rows of targets."""
    rng = np.random.default_rng(seed)
    draws = [_Draw(len(part[1]), rng) for part in (new, replay)]
    olds = min(round(REPLAYED * plan.batch), plan.batch - 1) if len(replay[1]) else 0

    def batch() -> tuple[Arrays, np.ndarray]:
        chosen = [draw.take(size) for draw, size in zip(draws, (plan.batch - olds, olds))]
        if not olds:
            return [a[chosen[0]] for a in new[0]], new[1][chosen[0]]
        latents = [np.concatenate([a[chosen[0]], b[chosen[1]]]) for a, b in zip(new[0], replay[0])]
        return latents, np.concatenate([new[1][chosen[0]], replay[1][chosen[1]]])

    return batch


class _Draw:
    """Positions in random order, each once before any comes again."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self.count, self.rng, self.left = count, rng, np.empty(0, np.int64)

    def take(self, size: int) -> np.ndarray:
        while len(self.left) < size:
            self.left = np.concatenate([self.left, self.rng.permutation(self.count)])
        batch, self.left = self.left[:size], self.left[size:]
        return batch


def enrolled(
    plan: Plan, parameters: Arrays, tail: Session, new: tuple[Arrays, np.ndarray], old: Arrays, first: int
) -> Arrays:
    """`parameters` with a row of the last layer set for every class of `new` from number `first` on.

    The row of a class is the direction from the old samples' mean to its own, scaled so that its own mean scores as
    an old class does on its samples, and the old mean as low as the others do there.
    """
    at_weight, at_bias = plan.head
    weight, bias = parameters[at_weight].copy(), parameters[at_bias].copy()
    rows = weight.reshape(len(weight), -1)  # a view: what is set there is set in `weight`
    scores, old_features = graphs.outputs_of(tail, plan, parameters, old)
    _, new_features = graphs.outputs_of(tail, plan, parameters, new[0])
    assert old_features is not None and new_features is not None
    known = np.sort(scores[:, :first], axis=1)
    high, low, middle = float(known[:, -1].mean()), float(known[:, :-1].mean()), old_features.mean(axis=0)

    for number in range(first, int(new[1].max()) + 1):
        if not (new[1] == number).any():
            continue
        direction = new_features[new[1] == number].mean(axis=0) - middle
        scale = (high - low) / max(float(direction @ direction), 1e-12)
        rows[number] = scale * direction
        bias[number] = low - float(rows[number] @ middle)

    updated = list(parameters)
    updated[at_weight], updated[at_bias] = weight, bias
    return updated


def prototypes(
    plan: Plan, parameters: Arrays, tail: Session, samples: tuple[Arrays, np.ndarray], classes: int
) -> Arrays:
    """`parameters` whose last layer decides by the nearest class mean (Snell et al., "Prototypical networks", 2017).

    Distances to means are linear in the features up to a term that all classes share. A class without samples in
    `samples` is never chosen.
    """
    at_weight, at_bias = plan.head
    weight, bias = np.zeros_like(parameters[at_weight]), np.full_like(parameters[at_bias], -30.0)
    _, features = graphs.outputs_of(tail, plan, parameters, samples[0])
    assert features is not None
    rows = weight.reshape(len(weight), -1)
    spread = float(((features - features.mean(axis=0)) ** 2).sum(axis=1).mean()) or 1.0

    for number in range(classes):
        if (samples[1] == number).any():
            mean = features[samples[1] == number].mean(axis=0)
            rows[number], bias[number] = 4 * mean / spread, -2 * float(mean @ mean) / spread

    updated = list(parameters)
    updated[at_weight], updated[at_bias] = weight, bias
    return updated
