"""Is what a bundle carries for personalization right? Judged on the artifacts, in their runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..backends import Session
from ..config.recipe import Personalize
from ..core.verdict import FAIL, PASS, Verdict
from .step import Learning, Step

#: steps that are taken in the runtime and in torch to be compared; how far they may be apart, as a share of the norm
PROVED_STEPS = 5
APART = {"sgd": 1e-5, "adam": 1e-3}
#: share of the reference samples on which trunk and tail must decide as the artifact does
ALIKE = 0.98


def alike(task: Any, wanted: np.ndarray, said: np.ndarray) -> Verdict:
    """Trunk and tail (n, outputs and spare ones) against the whole artifact (n, outputs) on the reference samples."""
    name = "output"
    same = np.asarray(task.alike({name: wanted}, {name: said[:, : wanted.shape[1]]}))
    return agreed(same, "decide as the model itself")


def agreed(same: np.ndarray, doing: str) -> Verdict:
    """The verdict on reference samples, bool (n,): on which of them trunk and tail do what the model does."""
    share = float(same.mean())
    return Verdict(
        "personalize",
        PASS if share >= ALIKE else FAIL,
        f"trunk and tail {doing} on {int(same.sum())} of {len(same)} reference samples",
        metric="agreement",
        quantized=share,
        limit=ALIKE,
        n=len(same),
    )


def steps(made: Step, learning: Learning, session: Session, table: Personalize, count: int = PROVED_STEPS) -> Verdict:
    """A few training steps in the runtime against the same in torch: how far the parameters end apart."""
    apart = distance(made, learning, session, table, count, together=True)
    limit = APART[table.optimizer]
    return Verdict(
        "personalize",
        PASS if apart <= limit else FAIL,
        f"in each of {count} training steps the parameters end within {apart:.2g} of their norm of torch's",
        metric="training step",
        quantized=apart,
        limit=limit,
        n=count,
    )


def distance(
    made: Step, learning: Learning, session: Session, table: Personalize, count: int, together: bool = False
) -> float:
    """How far the parameters are from torch's after `count` steps on the step's own example, as a share of the norm.

    `together`: every step begins where torch is, and the farthest counts. Without it a value that is zero but for
    rounding may pass a ReLU in one place and not in the other, and from there on the two go their own ways.
    """
    rng = np.random.default_rng(0)
    given = [t.detach().clone() for t in made.example]
    rows, outputs = given[-2].shape
    if learning.loss == "mse":
        given[-2] = torch.from_numpy(rng.normal(size=(rows, outputs)).astype(np.float32))
    else:
        classes = max(outputs - table.spare_classes, 1)
        given[-2] = torch.eye(outputs)[torch.from_numpy(rng.integers(0, classes, rows))]
    given[-1] = torch.full((1,), table.rate)
    theirs, moved = [t.numpy() for t in given], len(made.outputs) - 1
    parameters = sum(name.startswith("new_parameter_") for name in made.outputs)
    farthest = apart = 0.0
    for _ in range(count):
        found = session.run(dict(zip(made.inputs, theirs)))
        theirs = [*(found[name] for name in made.outputs[:-1]), *theirs[moved:]]
        given = [*(t.detach() for t in made.module(*given)[:-1]), *given[moved:]]
        ours = np.concatenate([t.numpy().ravel() for t in given[:parameters]])
        other = np.concatenate([t.ravel() for t in theirs[:parameters]])
        apart = float(np.linalg.norm(ours - other) / max(float(np.linalg.norm(ours)), 1e-12))
        apart = apart if np.isfinite(apart) else float("inf")
        farthest = max(farthest, apart)
        if together:
            theirs = [t.numpy() for t in given]
    return farthest if together else apart
