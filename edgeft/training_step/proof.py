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


def alike(task: Any, expected: np.ndarray, outputs: np.ndarray) -> Verdict:
    """Trunk and tail (n, outputs and spare ones) against the whole artifact (n, outputs) on the reference samples."""
    name = "output"
    same = np.asarray(task.alike({name: expected}, {name: outputs[:, : expected.shape[1]]}))
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


def steps(
    training_step: Step, learning: Learning, session: Session, table: Personalize, count: int = PROVED_STEPS
) -> Verdict:
    """A few training steps in the runtime against the same in torch: how far the parameters end apart."""
    apart = distance(training_step, learning, session, table, count, together=True)
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
    training_step: Step, learning: Learning, session: Session, table: Personalize, count: int, together: bool = False
) -> float:
    """How far the parameters are from torch's after `count` steps on the step's own example, as a share of the norm.

    `together`: every step begins where torch is, and the farthest counts. Without it a value that is zero but for
    rounding may pass a ReLU in one place and not in the other, and from there on the two go their own ways.
    """
    rng = np.random.default_rng(0)
    arguments = [t.detach().clone() for t in training_step.example]
    rows, outputs = arguments[-2].shape

    if learning.loss == "mse":
        arguments[-2] = torch.from_numpy(rng.normal(size=(rows, outputs)).astype(np.float32))
    else:
        classes = max(outputs - table.spare_classes, 1)
        arguments[-2] = torch.eye(outputs)[torch.from_numpy(rng.integers(0, classes, rows))]

    arguments[-1] = torch.full((1,), table.rate)
    theirs, moved = [t.numpy() for t in arguments], len(training_step.outputs) - 1
    parameters = sum(name.startswith("new_parameter_") for name in training_step.outputs)
    farthest = apart = 0.0

    for _ in range(count):
        results = session.run(dict(zip(training_step.inputs, theirs)))
        theirs = [*(results[name] for name in training_step.outputs[:-1]), *theirs[moved:]]
        arguments = [*(t.detach() for t in training_step.module(*arguments)[:-1]), *arguments[moved:]]
        ours = np.concatenate([t.numpy().ravel() for t in arguments[:parameters]])
        reference = np.concatenate([t.ravel() for t in theirs[:parameters]])
        apart = float(np.linalg.norm(ours - reference) / max(float(np.linalg.norm(ours)), 1e-12))
        apart = apart if np.isfinite(apart) else float("inf")
        farthest = max(farthest, apart)
        if together:
            theirs = [t.numpy() for t in arguments]

    return farthest if together else apart
