"""Which samples of the test split a model does worst on."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..inputs.batches import Arrays


def losses(task: Any, outputs: Arrays, targets: np.ndarray) -> np.ndarray:
    """How bad each sample is, float64 (N,), larger is worse: the task's metric of the sample alone.

    NaN where a sample alone has no metric (a picture without boxes, in which none were found).
    """
    scores = task.per_sample(outputs, targets)
    if scores is None and task.statistics is not None:
        entries = task.statistics(outputs, targets)
        scores = np.array([task.metric_of(entries[i : i + 1]) for i in range(len(targets))])
    elif scores is None:
        rows = [{name: values[i : i + 1] for name, values in outputs.items()} for i in range(len(targets))]
        scores = np.array([task.score(row, targets[i : i + 1]) for i, row in enumerate(rows)])

    signed: np.ndarray = np.asarray(scores, np.float64) * (-1 if task.metric.higher_is_better else 1)
    return signed


def worst(task: Any, outputs: Arrays, targets: np.ndarray, most: int) -> list[int]:
    """Positions of at most `most` samples, the worst first; [] where no sample alone has a metric.

    Where the task's margins are one a sample they order samples of one metric: of wrong classes the surest comes first,
    of right ones the least sure, as a cross-entropy would have it.
    """
    loss = losses(task, outputs, targets)
    if not np.isfinite(loss).any():
        return []

    margins = np.asarray(task.margins(outputs), np.float64)
    sureness = margins if margins.shape == loss.shape else np.zeros(len(loss))
    surprise = np.where(loss > np.nanmin(loss), sureness, -sureness)
    order = np.lexsort((-surprise, -np.nan_to_num(loss, nan=-np.inf)))

    return [int(i) for i in order if np.isfinite(loss[i])][:most]
