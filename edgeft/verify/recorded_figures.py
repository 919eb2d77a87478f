"""Figures that export recorded, against those that are measured again on data.

A drop compares the artifact with the bundle's own baseline: where both were made worse, or preprocessing was changed
for both, nothing is lost between them. The recorded metrics show it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.metric import finite
from ..core.verdict import ADVISORY, FAIL, INCONCLUSIVE, PASS, Verdict
from ..measure import stats
from ..tasks import Task
from .accuracy import Outputs, resampled
from .sample_size import BOOTSTRAP_NEEDS

#: both were measured at export, so that each may be off by its own noise: a bound that pairs of the same data meet
CONFIDENCE = 0.99


@dataclass(frozen=True)
class Recorded:
    """The metric of the float baseline and of the artifact at export; None where it is not recorded.

    `of_split` says that `n` is the number of samples of the test split, which no report and no summary may leave out.
    """

    metric: str
    before: float | None
    after: float | None
    n: int
    of_split: bool = False


def recorded_figures(manifest: Mapping[str, Any], gates: Sequence[Mapping[str, Any]]) -> Recorded:
    """What the manifest records (`figures`), else what its run and the accuracy gate of an earlier report do."""
    figures, run = manifest.get("figures"), manifest.get("provenance", {}).get("run")
    if isinstance(figures, Mapping):
        n = figures.get("n")
        before, after = (finite(figures.get(key)) for key in ("float", "quantized"))
        return Recorded(str(figures.get("metric")), before, after, n if type(n) is int and n > 0 else 0, True)

    gate = next((gate for gate in gates if gate.get("name") == "accuracy" and gate.get("n")), {})
    table = run if isinstance(run, Mapping) else {}
    metric, n = table.get("metric") or gate.get("metric") or "", table.get("n") or gate.get("n")
    before = finite(table.get("float")) if table else finite(gate.get("float"))
    after = finite(gate.get("quantized"))

    return Recorded(str(metric), before, after, n if type(n) is int and n > 0 else 0)


def same_figures(
    task: Task,
    recorded: Recorded,
    outputs_now: tuple[Outputs, Outputs],
    targets: np.ndarray,
    *,
    available: int | None,
) -> list[Verdict]:
    """The metrics now against the recorded ones, each within the 99 % interval of the difference.

    `available` is the number of samples of the data of the export, 0 where it is not known; None for other data. On
    the data of the export a difference beyond the interval is a fail. On other data only a worse figure counts, and it
    is inconclusive: the data may be harder, or the model or its preprocessing was altered. `outputs_now` are those of
    the float baseline and of the artifact as exported. Advisory where nothing was recorded; a fail where the figures
    are said to be of another number of samples than the data of the export have, which would make the interval wider.
    """
    pairs = [
        ("float", "the float baseline", recorded.before, outputs_now[0]),
        ("quantized", "the artifact", recorded.after, outputs_now[1]),
    ]
    verdicts = []

    for key, subject, before, outputs in pairs:
        base: dict[str, Any] = {"metric": f"recorded {key} figure", "unit": task.metric.unit, "n": len(targets)}
        if before is None or recorded.metric != task.metric.name or not recorded.n:
            why = f"the bundle does not record what {subject} reached at export"
            verdicts.append(Verdict("parity", ADVISORY, why, required=False, **base))
            continue
        if recorded.of_split and available and recorded.n != available:
            why = f"the bundle records figures of {recorded.n} samples, and the data of the export have {available}"
            verdicts.append(Verdict("parity", FAIL, why, **base))
            continue
        after = task.score(outputs, targets)
        # Of the same samples nothing but the model can differ.
        again = available is not None and recorded.n == len(targets)
        low, high = _interval(task, outputs, targets, 0 if again else recorded.n)
        values = f"{subject} has {task.metric.name} {task.metric.format(after)}, {task.metric.format(before)} at export"
        base |= {"float": before, "quantized": after, "drop": task.metric.drop(before, after), "ci95": None}
        if low <= before <= high:
            verdicts.append(Verdict("parity", PASS, f"{values}: within the noise of {len(targets)} samples", **base))
            continue
        if available is not None:
            why = f"{values}, on the data of the export: the model, its preprocessing or the record was altered"
            verdicts.append(Verdict("parity", FAIL, why, **base))
        elif task.metric.better(after, before):
            verdicts.append(Verdict("parity", PASS, f"{values}, on other data: no worse", **base))
        else:
            why = f"{values}: these data are harder than those of the export, or the model or its preprocessing was "
            why += "altered, which only the data of the export can tell"
            verdicts.append(Verdict("parity", INCONCLUSIVE, why, **base))

    return verdicts


def _interval(task: Task, outputs: Outputs, targets: np.ndarray, recorded_n: int) -> tuple[float, float]:
    """Where the recorded metric lies at 99 % if these outputs are as good: the interval of the metric on these samples,
    widened by the noise of the other measurement, of `recorded_n` samples (0: of these same ones)."""
    n = len(targets)
    scores = task.per_sample(outputs, targets)
    if scores is not None and bool(np.isin(scores, (0.0, 1.0)).all()):
        value = float(np.mean(scores))
        low, high = stats.clopper_pearson(round(float(np.sum(scores))), n, confidence=CONFIDENCE)
    elif n < BOOTSTRAP_NEEDS:
        return -math.inf, math.inf
    else:
        value = task.score(outputs, targets)
        rounds: dict[str, Any] = {} if scores is not None else {"rounds": 400}
        statistic = resampled(task, outputs, targets) if scores is None else lambda i: float(scores[i].mean())
        low, high = stats.paired_bootstrap(statistic, n, confidence=CONFIDENCE, **rounds)

    wider = math.sqrt(1 + n / recorded_n) if recorded_n else 1.0
    return value - (value - low) * wider, value + (high - value) * wider
