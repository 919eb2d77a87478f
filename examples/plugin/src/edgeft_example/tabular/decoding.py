"""The functions of the task in numpy, the same on host and board.

Outputs are float (N, 1) in the target column's unit, targets float (N, 1). The metric is the mean absolute error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgeft.core.errors import BundleError, DataError
from edgeft.core.metric import Metric
from edgeft.inputs import vector

METRIC = Metric("MAE", higher_is_better=False, max_drop_relative=0.05, chance="the median")
#: two values are alike when they differ by at most this share of the range of all outputs
TOLERANCE = 0.05

Outputs = Mapping[str, np.ndarray]


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table: each column less its mean, in units of its standard deviation over the training rows."""
    return vector.configure(data, defaults, facts, say)


def read(path: str, spec: Mapping[str, Any]) -> np.ndarray:
    """float32 (K,): a row such as "0.1, -0.2", or a file that holds one."""
    return vector.read(path)


def preprocess(raw: Any, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (1, K)} of a row (K,)."""
    return vector.preprocess(raw, spec)


def _values(outputs: Outputs) -> np.ndarray:
    if len(outputs) != 1:
        raise BundleError(f"several outputs ({', '.join(outputs)}), expected one of shape (samples, 1)")
    values = np.asarray(next(iter(outputs.values())), np.float64)
    if values.ndim != 2 or values.shape[1] != 1:
        raise BundleError(f"the output has shape {values.shape}, expected (samples, 1)", where="graphs.outputs")
    return values[:, 0]


def per_sample(outputs: Outputs, targets: np.ndarray) -> np.ndarray:
    """The absolute error of each sample, float64 (N,). Raises `DataError` without samples or for other targets."""
    values, truth = _values(outputs), np.asarray(targets, np.float64).reshape(-1)
    if truth.shape != values.shape or not len(values):
        raise DataError(f"{len(values)} outputs for {len(truth)} targets", where="targets")
    return np.abs(values - truth)


def score(outputs: Outputs, targets: np.ndarray) -> float:
    """The mean absolute error."""
    return float(per_sample(outputs, targets).mean())


def chance(targets: np.ndarray) -> float:
    """The error of the best constant answer, the median."""
    truth = np.asarray(targets, np.float64)
    if not truth.size:
        raise DataError("no samples to measure", where="targets")
    return float(np.abs(truth - np.median(truth)).mean())


def per_class(outputs: Outputs, targets: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """The error of the one column."""
    errors = per_sample(outputs, targets)
    return {str(labels[0]): {"metric": float(errors.mean()), "n": len(errors)}}


def decisions(outputs: Outputs) -> np.ndarray:
    """The values themselves, (N, 1)."""
    return _values(outputs)[:, None]


def alike(outputs: Outputs, others: Outputs) -> np.ndarray:
    """bool (N,): values that differ by at most `TOLERANCE` of the range of `outputs`."""
    first = _values(outputs)
    return np.asarray(np.abs(first - _values(others)) <= TOLERANCE * np.ptp(first))


def margins(outputs: Outputs) -> np.ndarray:
    """How far each value may move and still be alike, float64 (N,)."""
    values = _values(outputs)
    return np.full(len(values), TOLERANCE * np.ptp(values) if len(values) else 0.0)


def decode(outputs: Outputs, labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sample `value` (None where it is not finite) and `label`, the same in words."""
    tables = []
    for value in _values(outputs):
        finite = bool(np.isfinite(value))
        words = f"{labels[0]} {value:.4g}" if finite else f"{labels[0]} undecided"
        tables.append({"label": words, "value": float(value) if finite else None})
    return tables


def describe(target: Any, labels: Sequence[str]) -> str:
    """A target as `decode` would write it in `label`."""
    return f"{labels[0]} {float(np.ravel(target)[0]):.4g}"


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a report shows it."""
    return {"text": " ".join(f"{value:.4g}" for value in np.ravel(raw))}


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """The targets, where the data has the bundle's column; raises `DataError` where it has another one."""
    if list(ours) != list(theirs):
        raise DataError(f"the target column is {ours[0]!r}, the bundle predicts {theirs[0]!r}", where=where)
    return np.asarray(targets)
