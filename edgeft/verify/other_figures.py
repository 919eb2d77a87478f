"""Figures without a gate: each class, the task's further metrics, and what is taken for what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.metric import Metric
from ..measure import stats
from ..tasks import Task
from .accuracy import Outputs

#: a table of more classes than this is no longer read
MOST_CLASSES = 20


def other_figures(
    task: Task,
    float_outputs: Outputs,
    quantized_outputs: Outputs,
    targets: np.ndarray,
    labels: Sequence[str],
    spec: Mapping[str, Any],
) -> dict[str, Any]:
    """`per_class` of the report, and of it `worst_class` (by the artifact's result), `worst_class_float` (by the
    baseline's) and `largest_drop`; `extra_metrics` and `confusion` where the task has them.

    Of equal classes the one with most samples is named; None where the task has no classes.
    `extra_metrics` is {name: {"float", "quantized", "metric_record"}}, `confusion` {"labels", "float", "quantized"}:
    counts with a row for each true class. `threshold` is what the artifact's own gives (`Task.settled`), shares as
    {"share", "ci95", "n"}.
    """
    output_pair = (float_outputs, quantized_outputs)
    before, after = (task.per_class(outputs, targets, labels) for outputs in output_pair)
    per_class = {
        label: {
            "float": before[label]["metric"],
            "quantized": after[label]["metric"],
            "drop": task.metric.drop(before[label]["metric"], after[label]["metric"]),
            "n": int(before[label]["n"]),
        }
        for label in before
        if label in after
    }
    figures: dict[str, Any] = {**extremes(per_class, task.metric), "per_class": per_class}

    if task.extra_metrics is not None:
        first, second = (task.extra_metrics(outputs, targets) for outputs in output_pair)
        records = {record.name: record for record in task.further_metrics}
        figures["extra_metrics"] = {
            name: {"float": value, "quantized": second.get(name), "metric_record": records[name].as_dict()}
            for name, value in first.items()
        }

    if task.settled is not None and (table := task.settled(quantized_outputs, targets, spec)):
        figures["threshold"] = {k: _share(*v) if isinstance(v, tuple) else v for k, v in table.items()}

    if task.confusion is not None and 2 <= len(labels) <= MOST_CLASSES:
        tables = [task.confusion(outputs, targets).tolist() for outputs in output_pair]
        figures["confusion"] = {"labels": list(labels), "float": tables[0], "quantized": tables[1]}

    return figures


def _share(count: int, n: int) -> dict[str, Any]:
    """A share with its exact 95 % interval."""
    return {"share": count / n if n else None, "ci95": list(stats.clopper_pearson(count, n)), "n": n}


def extremes(per_class: Mapping[str, Mapping[str, Any]], metric: Metric) -> dict[str, Any]:
    """`worst_class`, `worst_class_float` and `largest_drop` of a report's `per_class`, each {label, float, quantized,
    drop, n} or None."""
    rows = [{"label": label, **row} for label, row in per_class.items() if row["n"]]

    def loss(key: str) -> Callable[[dict[str, Any]], tuple[float, int]]:
        return lambda row: (metric.drop(0.0, row[key]), row["n"])

    return {
        "worst_class": max(rows, key=loss("quantized"), default=None),
        "worst_class_float": max(rows, key=loss("float"), default=None),
        "largest_drop": max(rows, key=lambda row: (row["drop"], row["n"]), default=None),
    }
