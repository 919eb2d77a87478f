"""Tasks: a package each with its record, its numpy functions (the same on host and board), and its torch half.

    record.py   what is known of a task: `Task`
    <task>/     `TASK`, its record; decoding.py: preprocessing, decoding, metric; learning.py: head, loss, batches
                (torch); template.toml for `edgeft init`; run_part.py, its part of run.py
    show.py     a raw sample as pixels for a report

`get(name)` finds a record, of edgeft or of a plug-in (entry-point group `edgeft.tasks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.metric import Metric
from ..metrics import sets
from ..plugins import TASKS
from .record import Decisions, LabelCounts, Outputs, Steps, Task
from .show import show

__all__ = [
    "BUILTIN",
    "Decisions",
    "LabelCounts",
    "Outputs",
    "Task",
    "compared",
    "count_labels",
    "draw",
    "get",
    "in_order_of",
    "metric_named",
    "show_sample",
    "tell",
]
#: the tasks of edgeft
BUILTIN = tuple(sorted(TASKS.builtin))


def tell(
    task: Task, outputs: Outputs, raw: Any, spec: Mapping[str, Any], labels: Sequence[str], *, top: int = 5
) -> dict[str, Any]:
    """What `outputs`, those of the one sample `raw`, say: JSON values, `label` the short form, as `decode` has them."""
    if task.tell is not None:
        return task.tell(outputs, raw, spec, labels, top=top)
    (only,) = task.decode(outputs, labels, top=top)
    return only


def in_order_of(task: Task, expected: Outputs, outputs: Outputs, steps: Steps) -> Outputs:
    """`outputs` with the rows of their sets in the order of `expected`, both of the same shapes; see `Task.sets`."""
    names = task.sets(expected) if task.sets is not None else ()
    return sets.in_order_of(expected, outputs, names, steps) if names else outputs


def compared(
    task: Task, first: Outputs, second: Outputs, steps: Mapping[str, float | Sequence[float]] | None = None
) -> Decisions:
    """Every decision of both outputs (N, ...), with the margins of those of `first`; see `Task.compare`."""
    if task.compare is not None:
        return task.compare(first, second, steps)
    equal = task.alike(first, second)
    unit = 1.0 if steps is None else max(float(np.max(steps[name])) for name in first)
    sample = np.repeat(np.arange(len(equal)), equal[0].size if len(equal) else 0)
    margin = np.broadcast_to(task.margins(first), equal.shape).ravel() / unit
    return Decisions(sample, equal.ravel(), margin, np.ones(equal.size, bool))


def draw(task: Task, raw: Any, decoded: Mapping[str, Any], target: Any) -> dict[str, Any]:
    """`task.draw`, or `task.draw_beside` where the task draws what is truly there too."""
    return task.draw(raw, decoded) if task.draw_beside is None else task.draw_beside(raw, decoded, target)


def show_sample(task: Task, split: Any, i: int, labels: Sequence[str]) -> dict[str, Any]:
    """Sample `i` of a split with its true answer as a page shows it, see `Task.show_sample`.

    Raises `DataError` where the targets are those of another task.
    """
    try:
        if task.show_sample is not None:
            return task.show_sample(split, i, labels)

        return {**show(split.raw(i)), "caption": task.describe(split.targets[i], labels)}
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the answer to this sample is none of the task {task.name!r}",
            where=split.source(i),
            remedy="name another task or format, or set the keys of [data] that this task needs",
        ) from error


def count_labels(task: Task, split: Any, labels: Sequence[str]) -> LabelCounts | None:
    """How often each label occurs in a split; None where its targets have no labels, or are those of another task."""
    if task.count_labels is not None:
        try:
            return task.count_labels(split, labels)
        except (IndexError, KeyError, TypeError, ValueError):  # the task's learning half refuses them with the reason
            return None

    numbers = np.asarray(split.targets)
    if not labels or numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        return None

    return LabelCounts("samples", np.bincount(numbers, minlength=len(labels)))


def get(name: str) -> Task:
    """The record of the task called `name`; raises as `plugins.Registry.get`."""
    record: Task = TASKS.get(name)
    return record


def metric_named(name: str) -> Metric | None:
    """The record of a metric that a task of edgeft has under that name, or None."""
    metrics = (metric for task in map(get, BUILTIN) for metric in (task.metric, *task.further_metrics))
    return next((metric for metric in metrics if metric.name == name), None)
