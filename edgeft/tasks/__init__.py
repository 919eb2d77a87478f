"""Tasks: one file each, numpy only, the same on host and board: preprocessing, decoding, metric.

`get(name)` finds one (built in, or the entry-point group `edgeft.tasks`). What learning needs of the same task (head,
loss, batches, augmentation) is torch and lives in `edgeft/objectives/` under the same name.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Protocol

import numpy as np

from ..errors import UsageError, nearest

BUILTIN = ("classify",)


class Task(Protocol):
    """A task module.

    `METRIC` is the metric's name, `UNIT` "fraction" or the field's own, `HIGHER_IS_BETTER` its direction, and
    `MAX_DROP` the default gate. A *raw* sample is what a user has (an image file's pixels as uint8 (H, W, C) or
    (H, W), a string, a waveform); `preprocess` makes one batch-of-one feed per graph input from it, by `spec`, the
    manifest's `preprocess` table (plain JSON values only).
    """

    NAME: str
    METRIC: str
    UNIT: str
    HIGHER_IS_BETTER: bool
    MAX_DROP: float

    def read(self, path: str) -> Any:
        """A raw sample from a file that a user names (an image); raises `DataError` or `Missing`."""
        ...

    def preprocess(self, raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]: ...

    def decode(self, outputs: Mapping[str, np.ndarray], labels: Sequence[str]) -> list[dict[str, Any]]:
        """What the model sees, per sample of the batch, as JSON values (`label`, `confidence`, ...)."""
        ...

    def metric(self, outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float: ...

    def per_sample(self, outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> np.ndarray | None:
        """Scores (N,) whose mean is the metric, or None where the metric is no mean (then it is bootstrapped)."""
        ...

    def decisions(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """One comparable decision per sample (N, ...) for the agreement gate."""
        ...

    def margins(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """How far each decision is from flipping (N,), in output units (top-two margin of the logits)."""
        ...

    def per_class(
        self, outputs: Mapping[str, np.ndarray], targets: np.ndarray, labels: Sequence[str]
    ) -> dict[str, dict[str, float]]:
        """{label: {"metric": recall or the like, "n": samples}}."""
        ...

    def chance(self, targets: np.ndarray) -> float:
        """The metric of the best answer that looks at no input (majority class)."""
        ...


def get(name: str) -> Task:
    """The task module called `name`; raises `UsageError` with the nearest known name."""
    if name in BUILTIN:
        return importlib.import_module(f".{name}", __package__)  # type: ignore[return-value]
    extra = {e.name: e for e in entry_points(group="edgeft.tasks")}
    if name in extra:
        return extra[name].load()
    raise UsageError(f"unknown task {name!r}", remedy=nearest(name, (*BUILTIN, *extra)))
