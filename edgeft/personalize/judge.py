"""Whether a new version may be used: better on held-out new samples, and not worse on the old ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.verdict import FAIL, INCONCLUSIVE, PASS, Verdict
from ..measure import stats

#: a bootstrap of fewer samples says nothing about its own tails
BOOTSTRAP_NEEDS = 20
_ROUNDING = 1e-12


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
    are proven and new ones are not; a gain whose interval holds 0 is `inconclusive`. Forgetting is judged by the metric
    and by a bound: reference samples are mostly right before and after, so that what is lost shows in the confidence
    in the true classes first, whose mean loss must not exceed `max_forget` at its upper 95 % bound.
    """
    new = _figures(task, output, before.new, after.new, targets[0], labels)
    old = _figures(task, output, before.reference, after.reference, targets[1], labels)
    metric = task.metric
    gain, forgot = -metric.drop(new["before"], new["after"]), metric.drop(old["before"], old["after"])
    drop = _interval(task, output, before.new, after.new, targets[0])
    measured = {
        "metric": metric.name,
        "metric_record": metric.as_dict(),
        "new": new,
        "reference": old,
        "gain": gain,
        "gain_ci95": None if drop is None else [-drop[1] + 0.0, -drop[0] + 0.0],
        "forgetting": forgot,
        "confidence_loss": confidence_loss(before.reference, after.reference, targets[1]),
    }
    verdict, why = _decided(metric, measured, max_forget)

    return (
        Verdict(
            "personalize",
            verdict,
            why,
            metric=metric.name,
            unit=metric.unit,
            drop=forgot,
            ci95=_interval(task, output, before.reference, after.reference, targets[1]),
            limit=max_forget,
            n=new["n"] + old["n"],
        ),
        measured,
    )


def forgets(measured: Mapping[str, Any], max_forget: float) -> bool:
    """Whether the reference samples lose too much, by their metric or by the bound of their confidence."""
    loss = measured["confidence_loss"]
    return bool(measured["forgetting"] > max_forget + _ROUNDING or (loss and loss["bound95"] > max_forget + _ROUNDING))


def confidence_loss(before: np.ndarray, after: np.ndarray, targets: np.ndarray) -> dict[str, float] | None:
    """{"mean", "bound95"} of how much less probable the true classes became, of logits (n, C) and class numbers (n,).

    The bound is the upper end of a one-sided 95 % interval (bootstrap). None where targets are no classes.
    """
    if before.ndim != 2 or targets.ndim != 1 or targets.dtype.kind not in "iu" or len(targets) < 2:
        return None
    lost = _probability(before, targets) - _probability(after, targets)
    _, high = stats.paired_bootstrap(lambda i: float(lost[i].mean()), len(lost), confidence=0.90)
    return {"mean": float(lost.mean()), "bound95": float(high)}


def _probability(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The softmax of the true class of each sample, float64 (n,)."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers[np.arange(len(targets)), targets] / powers.sum(axis=1))


def _decided(metric: Any, measured: Mapping[str, Any], max_forget: float) -> tuple[str, str]:
    """The verdict and its reason."""
    new, old, gain, forgot = (measured[key] for key in ("new", "reference", "gain", "forgetting"))
    news, olds = ({key: metric.format(figures[key]) for key in ("before", "after")} for figures in (new, old))
    interval, limit = measured["gain_ci95"], metric.format_limit(max_forget)
    spread = f" (gain {metric.format_interval(interval, drop=True)}, 95 %)" if interval else ""
    on_old = f"{metric.name} on {old['n']} reference samples goes from {olds['before']} to {olds['after']}"
    if forgot > max_forget + _ROUNDING:
        return FAIL, f"forgets too much: {on_old}, more than {limit} worse"

    if forgets(measured, max_forget):
        bound = 100 * measured["confidence_loss"]["bound95"]
        return FAIL, (
            f"forgets too much: {on_old}, and the true classes may become less probable by {bound:.2f} points "
            f"(upper 95 % bound), more than {limit}"
        )

    if not gain > 0:
        return FAIL, (
            f"no improvement: {metric.name} on the {new['n']} held-out new samples is {news['after']}, "
            f"it was {news['before']}"
        )
    if metric.higher_is_better and forgot > 0 and gain * new["n"] < 1.5:
        return FAIL, (
            f"the improvement is too small for what is forgotten: one of the {new['n']} held-out new samples, "
            f"while {on_old}"
        )

    on_new = f"{metric.name} on the {new['n']} held-out new samples goes from {news['before']} to {news['after']}"
    if interval and interval[0] <= 0:
        needed = math.ceil(new["n"] * max(((gain - interval[0]) / gain) ** 2, 1 + 1 / new["n"]))
        return INCONCLUSIVE, f"{on_new}{spread}, which may be chance: give about {needed} samples"

    return PASS, f"{on_new}{spread}; on {old['n']} reference samples from {olds['before']} to {olds['after']}"


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
    """The paired 95 % interval of the drop (positive = worse) over samples; None where they are too few for one."""
    first, second = (task.per_sample({output: outputs}, targets) for outputs in (before, after))
    if first is None or second is None:
        return None

    if all(np.isin(scores, (0, 1)).all() for scores in (first, second)):
        low, high = stats.paired_proportions(int((first > second).sum()), int((second > first).sum()), len(targets))
    elif len(targets) < BOOTSTRAP_NEEDS:
        return None
    else:
        losses = (first - second) * (1 if task.metric.higher_is_better else -1)
        low, high = stats.paired_bootstrap(lambda i: float(losses[i].mean()), len(targets))

    return float(low), float(high)
