"""Tasks: one file each, numpy only, the same on host and board: preprocessing, decoding, metric.

`get(name)` finds one (built in, or the entry-point group `edgeft.tasks`). What learning needs of the same task (head,
loss, batches, augmentation) is torch and lives in `edgeft/objectives/` under the same name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..core.errors import UsageError, nearest
from ..core.metric import Metric
from ..plugins import offered

#: tasks of this package; `name-of-task` is the module `name_of_task.py`
BUILTIN = (
    "classify",
    "control",
    "detect",
    "keyword",
    "recommend",
    "segment",
    "speech",
    "text-classify",
    "translate",
)
Outputs = Mapping[str, np.ndarray]


class Task(Protocol):
    """A task module.

    `METRIC` is the record of the metric that gates judge, `EXTRA_METRICS` are those of `extra_metrics`.
    A *raw* sample is what a user has: an image's pixels as uint8 (H, W[, C]), a string, an array of numbers, or a
    mapping of such values; `preprocess` makes one batch-of-one feed per graph input from it, by `spec`, the manifest's
    `preprocess` table (plain JSON values only). The feeds' order is that of the model's inputs.

    A task whose answers are values and no choices has `DISCRETE = False`: parity then asks only how many steps two
    outputs differ by. One whose answers are due at a rate has `REAL_TIME = True`: what is measured of single calls then
    tells that rate (`measure.latency.rate`). A task may also have `measure(spec, raws)`: the table completed by what
    preprocessing takes from the training samples (mean and std of features, say); it must give the same numbers for the
    same samples.
    A task whose samples name things that a model has to have seen (users) has `refuse_unseen(facts, spec, where)`: it
    raises `DataError` where a data set's `facts` hold others than the `preprocess` table.
    A task may have a function `tell` of its own, see below: where what is seen is told in the terms of the sample
    (names of its candidates), and where one sample takes several rows of the graph's batch.

    What `decode` and `tell` give may hold arrays beside JSON values (a mask); who writes JSON leaves them out. A task
    may have `pictures(raw, decoded)`, {name: uint8 pixels}, that a user may want as files.
    A task may have `draw_beside(raw, decoded, target)`: as `draw`, with what is truly there (true boxes, true masks).

    A metric that is no mean over samples (mIoU, AP, BLEU, word error rate) is bootstrapped. Where it is slow, the task
    also has `statistics(outputs, targets)`, a sequence with one entry a sample (counts, matches), and
    `metric_of(statistics)`, the metric of any selection of them: then outputs are looked at once, not per round.

    Further metrics for the report are `extra_metrics(outputs, targets)`, {name: value}; a task with classes may have
    `confusion(outputs, targets)`, int (C, C). Neither decides anything.
    """

    NAME: str
    METRIC: Metric
    EXTRA_METRICS: tuple[Metric, ...]

    def configure(
        self, data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
    ) -> dict[str, Any]:
        """The manifest's `preprocess` table from the recipe's [data], the model's defaults and the data's facts."""
        ...

    def read(self, path: str, spec: Mapping[str, Any]) -> Any:
        """A raw sample from what a user names (a file, or the text itself); raises `DataError` or `Missing`."""
        ...

    def preprocess(self, raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]: ...

    def decode(self, outputs: Outputs, labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
        """What the model sees, per sample of the batch, as JSON values; `label` is the short form of it for people."""
        ...

    def describe(self, target: Any, labels: Sequence[str]) -> str:
        """A target as `decode` would call it in `label`."""
        ...

    def draw(self, raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
        """A sample for the report, with what was decoded of it: {"image": uint8 pixels} or {"text": words}."""
        ...

    def join(self, targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
        """Targets of data with the labels `ours` as targets of a bundle with the labels `theirs`, by name.

        Raises `DataError` for data that the bundle cannot be judged on.
        """
        ...

    def metric(self, outputs: Outputs, targets: np.ndarray) -> float: ...

    def per_sample(self, outputs: Outputs, targets: np.ndarray) -> np.ndarray | None:
        """Scores (N,) whose mean is the metric, or None where the metric is no mean (then it is bootstrapped)."""
        ...

    def decisions(self, outputs: Outputs) -> np.ndarray:
        """What was decided, (N, ...): class numbers, or the values themselves."""
        ...

    def alike(self, one: Outputs, other: Outputs) -> np.ndarray:
        """Bool (N, ...): where both outputs come to the same decision (values: within the task's tolerance)."""
        ...

    def margins(self, outputs: Outputs) -> np.ndarray:
        """How far each element of `alike` is from flipping, same shape, in output units (a top-two margin)."""
        ...

    def per_class(self, outputs: Outputs, targets: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, float]]:
        """{label: {"metric": recall or the like, "n": samples}}."""
        ...

    def chance(self, targets: np.ndarray) -> float:
        """The metric of the best answer that looks at no input (majority class, mean); `METRIC.chance` names it."""
        ...


def tell(
    task: Any, outputs: Outputs, raw: Any, spec: Mapping[str, Any], labels: Sequence[str], *, top: int = 5
) -> dict[str, Any]:
    """What `outputs`, those of the one sample `raw`, say: JSON values, `label` the short form, as `decode` has them."""
    if hasattr(task, "tell"):
        return task.tell(outputs, raw, spec, labels, top=top)
    (only,) = task.decode(outputs, labels, top=top)
    return only


def draw(task: Any, raw: Any, decoded: Mapping[str, Any], target: Any) -> dict[str, Any]:
    """`task.draw`, or `task.draw_beside` where the task draws what is truly there too."""
    return task.draw_beside(raw, decoded, target) if hasattr(task, "draw_beside") else task.draw(raw, decoded)


def get(name: str) -> Task:
    """The task module called `name`; raises `UsageError` with the nearest known name."""
    if name in BUILTIN:
        return importlib.import_module(f".{name.replace('-', '_')}.decoding", __package__)  # type: ignore[return-value]
    extra = offered("edgeft.tasks")
    if name in extra:
        return extra[name].load()
    raise UsageError(f"unknown task {name!r}", remedy=nearest(name, (*BUILTIN, *extra)))


def metric_named(name: str) -> Metric | None:
    """The record of a metric that a task of this package has under that name, or None."""
    every = (metric for task in map(get, BUILTIN) for metric in (task.METRIC, *task.EXTRA_METRICS))
    return next((metric for metric in every if metric.name == name), None)
