"""Quantization-aware training that diverges begins again from the calibrated model, at a tenth of the rate.

A stage diverges where its loss is not finite, or where its first epoch loses more of the validation metric than the
gates allow and than chance explains. A little loss in a first epoch is usual, since the rate is highest there, and is
no reason to begin again.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..config.recipe import Gates
from ..core.metric import Metric
from ..verify.accuracy import allowed_drop
from .fit import Fitted

#: attempts after the first one, and what each divides the rate by
MOST, FACTOR = 2, 10.0
#: samples that must be lost beyond those gained: by chance that number has the standard deviation sqrt(d) where d
#: decisions differ, and d is no smaller than it, so that four are at most two standard deviations
FEWEST = 4


@dataclass(frozen=True)
class Retried:
    """The stage that stands, None where every attempt diverged; its learning rate, and what was given up before it:
    {"lr", "validation" (None: the loss was not finite), "why" (a sentence)} an attempt."""

    fitted: Fitted | None
    lr: float
    diverged: list[dict[str, Any]]


def diverges(metric: Metric, gates: Gates, samples: int) -> Callable[[float, float], bool]:
    """(validation before, after the first epoch) -> whether the epoch is worse by more than the gates allow.

    Of `samples` validation samples at least `FEWEST` must be lost, where the metric is a share of them.
    """
    least = FEWEST / max(samples, 1) if metric.unit == "fraction" else 0.0

    def judged(before: float, after: float) -> bool:
        drop = metric.drop(before, after)
        return not drop < max(allowed_drop(metric, gates, before), least)  # NaN is no improvement

    return judged


def retried(
    module: nn.Module, lr: float, train: Callable[[float, int], Fitted], metric: Metric, say: Callable[[str], None]
) -> Retried:
    """`train(lr, attempt)` until it does not diverge, at most `MOST` more times, each from the module's weights now.

    The module is left with the weights of the attempt that stands, else as it was.
    """
    start = copy.deepcopy(module.state_dict())
    given_up: list[dict[str, Any]] = []
    for attempt in range(MOST + 1):
        rate = lr / FACTOR**attempt
        try:
            fitted = train(rate, attempt)
        except FloatingPointError:
            row = {"lr": rate, "validation": None, "why": f"at lr = {rate:g} the loss was not finite"}
        else:
            if not fitted.diverged:
                return Retried(fitted, rate, given_up)
            before, after = (r["validation"] for r in fitted.rows[:2])
            row = {"lr": rate, "validation": after if math.isfinite(after) else None}
            row["why"] = (
                f"at lr = {rate:g} the {metric.name} on the validation split was {metric.format(after)} after the "
                f"first epoch, and {metric.format(before)} as calibrated"
            )

        given_up.append(row)
        module.load_state_dict(start)
        if attempt < MOST:
            say(f"QAT diverged: {row['why']}; it begins again at lr = {rate / FACTOR:g}")

    return Retried(None, rate, given_up)


def why_none(diverged: list[dict[str, Any]]) -> str:
    """Why the calibrated model stands where every attempt diverged."""
    return f"QAT diverged, so the PTQ model is used: {'; '.join(row['why'] for row in diverged)}"
