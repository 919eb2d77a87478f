"""May what was learned be used? Better on new samples that it never saw, and not worse on the old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.verdict import FAIL, PASS, Verdict
from ..measure import stats


@dataclass(frozen=True)
class Scored:
    """One set of parameters on the new samples that were held back, and on the reference samples: its outputs."""

    new: np.ndarray
    reference: np.ndarray


def judge(
    task: Any,
    output: str,
    before: Scored,
    after: Scored,
    targets: tuple[np.ndarray, np.ndarray],
    labels: Sequence[str],
    max_forget: float,
) -> tuple[Verdict, dict[str, Any]]:
    """The verdict, and what was measured: before, after and forgetting, per class where there are classes.

    `targets` are those of the new and of the reference samples. A gain of nothing is a `fail`: the parameters in use
    are proven and new ones are not. One sample more is chance: where it costs any of the old, it is a `fail` too.
    """
    new = _figures(task, output, before.new, after.new, targets[0], labels)
    old = _figures(task, output, before.reference, after.reference, targets[1], labels)
    sign = 1 if task.HIGHER_IS_BETTER else -1
    gain, forgot = sign * (new["after"] - new["before"]), sign * (old["before"] - old["after"])
    measured = {"metric": task.METRIC, "new": new, "reference": old, "gain": gain, "forgetting": forgot}
    if forgot > max_forget + 1e-12:
        verdict, why = (
            FAIL,
            (
                f"forgets too much: {task.METRIC} on {old['n']} reference samples goes from {old['before']:.4g} to "
                f"{old['after']:.4g}, more than {max_forget:g} worse"
            ),
        )
    elif not gain > 0:
        verdict, why = (
            FAIL,
            (
                f"nothing gained: {task.METRIC} on the {new['n']} new samples held back is {new['after']:.4g}, "
                f"it was {new['before']:.4g}"
            ),
        )
    elif task.HIGHER_IS_BETTER and forgot > 0 and gain * new["n"] < 1.5:
        verdict, why = (
            FAIL,
            (
                f"gained too little for what it costs: one of the {new['n']} new samples held back, while "
                f"{task.METRIC} on {old['n']} reference samples goes from {old['before']:.4g} to {old['after']:.4g}"
            ),
        )
    else:
        verdict, why = (
            PASS,
            (
                f"{task.METRIC} on the {new['n']} new samples held back goes from {new['before']:.4g} to "
                f"{new['after']:.4g}; on {old['n']} reference samples from {old['before']:.4g} to {old['after']:.4g}"
            ),
        )
    return (
        Verdict(
            "personalize",
            verdict,
            why,
            metric=task.METRIC,
            drop=forgot,
            ci95=_interval(task, output, before.reference, after.reference, targets[1]),
            limit=max_forget,
            n=new["n"] + old["n"],
        ),
        measured,
    )


def _figures(
    task: Any, output: str, before: np.ndarray, after: np.ndarray, targets: np.ndarray, labels: Sequence[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(targets)}
    tables: dict[str, Mapping[str, Any]] = {}
    for key, outputs in (("before", before), ("after", after)):
        found[key] = float(task.metric({output: outputs}, targets))
        if hasattr(task, "per_class"):
            tables[key] = task.per_class({output: outputs}, targets, labels)
    if tables:
        found["per_class"] = {
            label: {"n": row["n"], "before": row["metric"], "after": tables["after"][label]["metric"]}
            for label, row in tables["before"].items()
            if row["n"] and label in tables["after"]
        }
    return found


def _interval(
    task: Any, output: str, before: np.ndarray, after: np.ndarray, targets: np.ndarray
) -> tuple[float, float] | None:
    """95 % of what is forgotten, paired over samples, where the metric is a share of right answers."""
    scores = [task.per_sample({output: outputs}, targets) for outputs in (before, after)]
    if scores[0] is None or not all(np.isin(score, (0, 1)).all() for score in scores):
        return None
    lost, won = int(((scores[0] == 1) & (scores[1] == 0)).sum()), int(((scores[0] == 0) & (scores[1] == 1)).sum())
    low, high = stats.paired_proportions(lost, won, len(targets))
    return float(low), float(high)
