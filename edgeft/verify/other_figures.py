"""Figures without a gate: each class, the task's further metrics, and what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tasks import Task
from .accuracy import Outputs, worst_class

#: a table of more classes than this is no longer read
MOST_CLASSES = 20


def other_figures(
    task: Task, float_outputs: Outputs, quantized_outputs: Outputs, targets: np.ndarray, labels: Sequence[str]
) -> dict[str, Any]:
    """`worst_class` and `per_class` of the report; `extra_metrics` and `confusion` where the task has them.

    `extra_metrics` is {name: {"float", "quantized", "metric_record"}}, `confusion` {"labels", "float", "quantized"}:
    counts with a row for each true class.
    """
    output_pair = (float_outputs, quantized_outputs)
    before, after = (task.per_class(outputs, targets, labels) for outputs in output_pair)
    figures: dict[str, Any] = {
        "worst_class": worst_class(task, *output_pair, targets, labels),
        "per_class": {
            label: {
                "float": before[label]["metric"],
                "quantized": after[label]["metric"],
                "drop": task.metric.drop(before[label]["metric"], after[label]["metric"]),
                "n": before[label]["n"],
            }
            for label in before
            if label in after
        },
    }
    if task.extra_metrics is not None:
        first, second = (task.extra_metrics(outputs, targets) for outputs in output_pair)
        records = {record.name: record for record in task.further_metrics}
        figures["extra_metrics"] = {
            name: {"float": value, "quantized": second.get(name), "metric_record": records[name].as_dict()}
            for name, value in first.items()
        }

    if task.confusion is not None and 2 <= len(labels) <= MOST_CLASSES:
        tables = [task.confusion(outputs, targets).tolist() for outputs in output_pair]
        figures["confusion"] = {"labels": list(labels), "float": tables[0], "quantized": tables[1]}

    return figures
