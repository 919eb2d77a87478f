"""May what was learned be used? Better on new samples that it never saw, and not worse on the old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.metric import Metric
from ..core.verdict import FAIL, PASS, Verdict
from ..measure import stats


@dataclass(frozen=True)
class Scored:
    """One set of parameters on the new samples that were held out, and on the reference samples: its outputs."""

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
    metric = task.metric
    gain, forgot = -metric.drop(new["before"], new["after"]), metric.drop(old["before"], old["after"])
    measured = {
        "metric": metric.name,
        "metric_record": metric.as_dict(),
        "new": new,
        "reference": old,
        "gain": gain,
        "forgetting": forgot,
    }
    verdict, why = _decision(metric, new, old, max_forget)
    gate_result = Verdict(
        "personalize",
        verdict,
        why,
        metric=metric.name,
        unit=metric.unit,
        drop=forgot,
        ci95=_interval(task, output, before.reference, after.reference, targets[1]),
        limit=max_forget,
        n=new["n"] + old["n"],
    )
    return gate_result, measured


def _decision(metric: Metric, new: dict[str, Any], old: dict[str, Any], max_forget: float) -> tuple[str, str]:
    """The verdict and its reason from the figures of the new and of the reference samples."""
    gain, forgot = -metric.drop(new["before"], new["after"]), metric.drop(old["before"], old["after"])
    news, olds = ({key: metric.format(figures[key]) for key in ("before", "after")} for figures in (new, old))
    if forgot > max_forget + 1e-12:
        return FAIL, (
            f"forgets too much: {metric.name} on {old['n']} reference samples goes from {olds['before']} to "
            f"{olds['after']}, more than {metric.format_limit(max_forget)} worse"
        )
    if not gain > 0:
        return FAIL, (
            f"no improvement: {metric.name} on the {new['n']} held-out new samples is {news['after']}, "
            f"it was {news['before']}"
        )
    if metric.higher_is_better and forgot > 0 and gain * new["n"] < 1.5:
        return FAIL, (
            f"the improvement is too small for what is forgotten: one of the {new['n']} held-out new samples, "
            f"while {metric.name} on {old['n']} reference samples goes from {olds['before']} to {olds['after']}"
        )
    return PASS, (
        f"{metric.name} on the {new['n']} held-out new samples goes from {news['before']} to "
        f"{news['after']}; on {old['n']} reference samples from {olds['before']} to {olds['after']}"
    )


def _figures(
    task: Any, output: str, before: np.ndarray, after: np.ndarray, targets: np.ndarray, labels: Sequence[str]
) -> dict[str, Any]:
    figures: dict[str, Any] = {"n": len(targets)}
    tables: dict[str, Mapping[str, Any]] = {}
    for key, outputs in (("before", before), ("after", after)):
        figures[key] = float(task.score({output: outputs}, targets))
        tables[key] = task.per_class({output: outputs}, targets, labels)
    if tables:
        figures["per_class"] = {
            label: {"n": row["n"], "before": row["metric"], "after": tables["after"][label]["metric"]}
            for label, row in tables["before"].items()
            if row["n"] and label in tables["after"]
        }
    return figures


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
