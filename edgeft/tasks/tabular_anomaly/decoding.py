"""Anomalies of rows: an autoencoder trained on normal rows alone reconstructs others badly; the metric is the AUC.

Outputs are what is left between a row and its reconstruction, float (N, K), in standard deviations of each column. The
score of a row is the mean square of it (as MLPerf Tiny's anomaly detection has it, Banbury et al. 2021). Targets are
float (N, 1), 0 (normal) or 1 (anomaly).

Export sets a threshold by the artifact's scores of the normal validation rows, which stands in the `preprocess` table
as `threshold` {"score", "false_alarms", "n"}: a row that scores above it is called an anomaly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import BundleError, DataError
from ...core.metric import Metric
from ...inputs import columns
from ...inputs.columns import draw, preprocess, read
from ..classify.decoding import auc

__all__ = ["draw", "preprocess", "read"]

METRIC = Metric("AUC", "fraction", max_drop=0.01, chance="a coin")
EXTRA_METRICS = (Metric("recall_at_5_percent", "fraction"),)
#: two scores are alike when they differ by at most this share of the range of all scores
TOLERANCE = 0.05
#: share of normal rows above the threshold of `recall_at_5_percent`
FALSE_ALARMS = 0.05
Outputs = Mapping[str, np.ndarray]


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The table of `columns.configure`, and `false_alarms`, the share of normal rows that may be called anomalies."""
    options = getattr(data, "options", {})
    allowed = options.get("false_alarms", FALSE_ALARMS) if isinstance(options, Mapping) else options.false_alarms
    return {**columns.configure(data, defaults, facts, say), "false_alarms": float(allowed)}


def scores(outputs: Outputs) -> np.ndarray:
    """How far each row is from its reconstruction, float64 (N,)."""
    if len(outputs) != 1:
        raise BundleError(f"several outputs ({', '.join(outputs)}), expected one of shape (samples, columns)")
    left = np.asarray(next(iter(outputs.values())), np.float64)
    if left.ndim != 2:
        raise BundleError(f"the output has shape {left.shape}, expected (samples, columns)", where="graphs.outputs")
    return np.asarray(np.square(left).mean(axis=1))


def _checked(outputs: Outputs, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and whether each row is an anomaly; raises `DataError` unless there are rows of both kinds."""
    values, truth = scores(outputs), np.asarray(targets).reshape(-1)
    if len(values) != len(truth) or not len(truth):
        raise DataError(f"{len(values)} outputs for {len(truth)} targets", where="targets")
    if not np.isin(truth, (0, 1)).all() or truth.min() == truth.max():
        raise DataError("expected rows of both kinds, 0 (normal) and 1 (anomaly)", where="targets")
    return np.where(np.isfinite(values), values, np.finfo(np.float64).max), truth == 1


def metric(outputs: Outputs, targets: np.ndarray) -> float:
    """The chance that an anomaly scores above a normal row, ties half."""
    return auc(*_checked(outputs, targets))


def statistics(outputs: Outputs, targets: np.ndarray) -> np.ndarray:
    """Float64 (N, 2): the score of each row, and 1 where it is an anomaly."""
    values, faults = _checked(outputs, targets)
    return np.stack([values, faults.astype(np.float64)], axis=1)


def metric_of(entries: Sequence[np.ndarray]) -> float:
    """The metric of rows of `statistics`; NaN where all are of one kind (a single row, some resamples)."""
    rows = np.asarray(entries, np.float64).reshape(-1, 2)
    faults = rows[:, 1] == 1
    return auc(rows[:, 0], faults) if faults.any() and not faults.all() else float("nan")


def per_sample(outputs: Outputs, targets: np.ndarray) -> None:
    """An AUC is no mean over samples."""


def extra_metrics(outputs: Outputs, targets: np.ndarray) -> dict[str, float]:
    """`recall_at_5_percent`: the share of anomalies above the score that one normal row in twenty exceeds."""
    values, faults = _checked(outputs, targets)
    threshold = np.quantile(values[~faults], 1 - FALSE_ALARMS)
    return {"recall_at_5_percent": float((values[faults] > threshold).mean())}


def settle(outputs: Outputs, targets: np.ndarray, spec: Mapping[str, Any]) -> dict[str, Any]:
    """{"threshold": {"score", "false_alarms", "n"}} by the scores of the `n` normal rows among held-out ones.

    The score is that of rank ceil((n + 1) (1 - `false_alarms`)), which a further normal row exceeds with at most that
    chance (split conformal prediction, Vovk et al. 2005). Fewer rows than that rank allow no such promise: the largest
    score serves then. Scores that are not finite are above every threshold. {} without a normal row.
    """
    values = scores(outputs)[np.asarray(targets).reshape(-1) == 0]
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return {}
    allowed = float(spec.get("false_alarms", FALSE_ALARMS))
    rank = min(_rank(len(values), allowed), len(values))
    return {"threshold": {"score": float(values[rank - 1]), "false_alarms": allowed, "n": len(values)}}


def _rank(n: int, allowed: float) -> int:
    return max(1, math.ceil((n + 1) * (1 - allowed) - 1e-9))


def settled(outputs: Outputs, targets: np.ndarray, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a threshold gives on rows of both kinds, {} without one: its own `score`, `false_alarms_allowed`, `set_by`
    (rows) and `too_few` (they allow no promise); `false_alarms` and `detected`, each (rows above it, of how many)."""
    threshold = _threshold(spec)
    if threshold is None:
        return {}

    values, faults = _checked(outputs, targets)
    above = values > threshold["score"]
    return {
        "score": threshold["score"],
        "false_alarms_allowed": threshold["false_alarms"],
        "set_by": threshold["n"],
        "too_few": _rank(threshold["n"], threshold["false_alarms"]) > threshold["n"],
        "false_alarms": (int(above[~faults].sum()), int((~faults).sum())),
        "detected": (int(above[faults].sum()), int(faults.sum())),
    }


def _threshold(spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """The table of the threshold, None where there is none; raises `BundleError` for one that cannot be followed."""
    table = spec.get("threshold")
    if table is None:
        return None

    kinds = {"score": (int, float), "false_alarms": (int, float), "n": (int,)}
    for key, allowed in kinds.items():
        value: Any = table.get(key) if isinstance(table, Mapping) else None
        if type(value) not in allowed or not math.isfinite(value):
            raise BundleError(f"is {value!r}, expected a finite number", where=f"preprocess.threshold.{key}")

    return dict(table)


def tell(outputs: Outputs, raw: Any, spec: Mapping[str, Any], labels: Sequence[str], *, top: int = 5) -> dict[str, Any]:
    """`decode` of one row; with a threshold also `anomaly` (None where the score is not finite) and `threshold`."""
    (table,) = decode(outputs, labels)
    threshold = _threshold(spec)
    if threshold is None:
        return table

    limit, score = float(threshold["score"]), table["score"]
    anomaly = None if score is None else bool(score > limit)
    word = {None: "undecided", True: "yes", False: "no"}[anomaly]
    label = f"anomaly: {word}" if score is None else f"anomaly: {word} ({table['label']}, threshold {limit:.4g})"

    return {"label": label, "anomaly": anomaly, "score": score, "threshold": limit}


def per_class(outputs: Outputs, targets: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """{label: {"metric": share on its own side of that threshold, "n": rows}}."""
    values, faults = _checked(outputs, targets)
    above = values > np.quantile(values[~faults], 1 - FALSE_ALARMS)
    return {
        str(labels[0]): {"metric": float((~above[~faults]).mean()), "n": int((~faults).sum())},
        str(labels[1]): {"metric": float(above[faults].mean()), "n": int(faults.sum())},
    }


def chance(targets: np.ndarray) -> float:
    """An answer that looks at no row ranks every second pair right."""
    return 0.5


def decisions(outputs: Outputs) -> np.ndarray:
    """The scores, (N, 1)."""
    return scores(outputs)[:, None]


def alike(outputs: Outputs, others: Outputs) -> np.ndarray:
    """bool (N,): scores that differ by at most `TOLERANCE` of the range of `outputs`' scores, or of their own size."""
    first, second = scores(outputs), scores(others)
    return np.asarray(np.abs(first - second) <= np.maximum(TOLERANCE * np.ptp(first), TOLERANCE * np.abs(first)))


def margins(outputs: Outputs) -> np.ndarray:
    """How far each score may move and still be alike, float64 (N,)."""
    values = scores(outputs)
    spread = float(np.ptp(values)) if len(values) else 0.0
    return np.asarray(TOLERANCE * np.maximum(spread, np.abs(values)))


def decode(outputs: Outputs, labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sample `score` (None where it is not finite), and the same in words in `label`."""
    tables = []
    for value in scores(outputs):
        finite = bool(np.isfinite(value))
        tables.append(
            {"label": f"score {value:.4g}" if finite else "undecided", "score": float(value) if finite else None}
        )
    return tables


def describe(target: Any, labels: Sequence[str]) -> str:
    """The name of the kind of row."""
    return str(labels[int(np.ravel(target)[0])])


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """The targets: 0 and 1 mean the same in all data of the format."""
    return np.asarray(targets)
