"""Which trial is ended early: the median stopping rule, on the validation metric alone.

A trial is stopped after an epoch when the best value that it has reached is worse than the median of what the other
trials had reached by the same epoch of the same stage (Golovin et al., Google Vizier, KDD 2017, section 3.2.1; there of
running averages, here of the best value, since a run keeps its best epoch). Written here because the same rule serves
searches with several objectives, which Optuna does not prune.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from ..core.metric import Metric

#: trials that must have come as far before one is compared with them
FEWEST = 4
#: epochs of a stage during which no trial is stopped
WARM_UP = 1
#: steps of a stage are numbered from here on: stage * STAGE + epoch
STAGE = 1_000_000


def best_by(history: Mapping[int, float], step: int, metric: Metric) -> float | None:
    """The best value up to and with `step` of {step: value} in the step's own stage; None where there is none."""
    start = step // STAGE * STAGE
    values = [value for at, value in history.items() if start <= at <= step]
    if not values:
        return None
    return max(values) if metric.higher_is_better else min(values)


def behind(
    history: Mapping[int, float], others: Sequence[Mapping[int, float]], step: int, metric: Metric
) -> float | None:
    """The median of `others` that the trial's best value at `step` is worse than; None where it goes on.

    Each history is {step: validation metric}; the steps of a stage are `STAGE * number + epoch`.
    """
    if step % STAGE <= WARM_UP:
        return None
    reached = best_by(history, step, metric)
    rivals = [value for rival in others if step in rival and (value := best_by(rival, step, metric)) is not None]
    if reached is None or len(rivals) < FEWEST:
        return None
    median = statistics.median(rivals)
    return median if metric.better(median, reached) else None
