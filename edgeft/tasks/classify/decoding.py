"""Classification of images: one class of a fixed list per sample; the metric is accuracy.

Outputs are logits (N, C). A row that holds a NaN or an infinite maximum gives no class: its decision is -1, which is
right for no target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import BundleError, DataError, nearest
from ...core.metric import Metric
from ...inputs.image import configure, preprocess, read
from ..show import show

__all__ = [
    "EXTRA_METRICS",
    "METRIC",
    "NAME",
    "alike",
    "auc",
    "chance",
    "class_logits",
    "configure",
    "confusion",
    "decisions",
    "decode",
    "describe",
    "draw",
    "extra_metrics",
    "join",
    "margins",
    "metric",
    "per_class",
    "per_sample",
    "preprocess",
    "read",
]

NAME = "classify"
METRIC = Metric("accuracy", "fraction", max_drop=0.01)
EXTRA_METRICS = (Metric("balanced_accuracy", "fraction"), Metric("macro_f1", "fraction"), Metric("auc", "fraction"))


def class_logits(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The logits (N, C) as float64: the output called "logits", else the only one."""
    if "logits" in outputs:
        logits = outputs["logits"]
    elif len(outputs) == 1:
        logits = next(iter(outputs.values()))
    else:
        raise BundleError(f"several outputs ({', '.join(outputs)}) and none is called 'logits'", where="graphs.outputs")

    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise BundleError(f"logits have shape {logits.shape}, expected (samples, 2 or more classes)", where="logits")

    return logits.astype(np.float64)


def _undecided(logits: np.ndarray) -> np.ndarray:
    undecided: np.ndarray = ~np.isfinite(logits.max(axis=1)) | np.isnan(logits).any(axis=1)
    return undecided


def _checked_targets(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    targets = np.asarray(targets).reshape(-1)
    if len(targets) != len(logits):
        raise DataError(f"{len(logits)} outputs for {len(targets)} targets", where="targets")
    if len(targets) == 0:
        raise DataError("no samples to measure", where="targets")
    if targets.dtype.kind not in "iub" or targets.min() < 0 or targets.max() >= logits.shape[1]:
        raise DataError(f"targets must be class numbers 0..{logits.shape[1] - 1}", where="targets")
    return targets.astype(np.int64)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of (N, C) along the classes, float64; rows that are not finite become NaN."""
    logits = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return probabilities


def decode(outputs: Mapping[str, np.ndarray], labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sample `label`, `index`, `confidence` (softmax, 0..1) and `top`, the `top` best classes, best first.

    An undecided row has `label` and `confidence` None and `index` -1. Raises `BundleError` when the labels do not fit.
    """
    logits = class_logits(outputs)
    if len(labels) != logits.shape[1]:
        raise BundleError(f"{len(labels)} labels for {logits.shape[1]} classes", where="labels")

    best = decisions(outputs)
    order = np.argsort(-logits, axis=1, kind="stable")[:, : max(top, 0)]
    results: list[dict[str, Any]] = []

    for row, share in enumerate(probabilities(logits)):
        if best[row] < 0:
            results.append({"label": None, "index": -1, "confidence": None, "top": []})
            continue
        ranked = [{"label": labels[i], "confidence": float(share[i])} for i in order[row]]
        index = int(best[row])
        results.append({"label": labels[index], "index": index, "confidence": float(share[index]), "top": ranked})

    return results


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The picture."""
    return show(raw)


def describe(target: Any, labels: Sequence[str]) -> str:
    """The name of a class number."""
    return str(labels[int(target)])


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """Targets numbered by `ours` as targets numbered by `theirs`, by name; `DataError` for a name they do not have."""
    number = {label: i for i, label in enumerate(theirs)}
    unknown = [label for label in ours if label not in number]
    if unknown:
        raise DataError(
            f"the data has the label {unknown[0]!r}, the bundle knows {', '.join(theirs)}",
            where=where,
            remedy=f"labels are joined by name: rename the class of the data; {nearest(unknown[0], theirs)}",
        )

    return np.array([number[label] for label in ours], np.int64)[np.asarray(targets, np.int64)]


def metric(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float:
    """Accuracy, 0..1. Raises `DataError` without samples or with targets that are no classes of the model."""
    return float(per_sample(outputs, targets).mean())


def per_sample(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> np.ndarray:
    """1.0 where the decision is right, else 0.0, (N,) float64."""
    targets = _checked_targets(class_logits(outputs), targets)
    right: np.ndarray = (decisions(outputs) == targets).astype(np.float64)
    return right


def decisions(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The class number with the highest logit, the first of equals; -1 where undecided. (N,) int64."""
    logits = class_logits(outputs)
    return np.where(_undecided(logits), -1, logits.argmax(axis=1)).astype(np.int64)


def alike(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: the same class."""
    return np.asarray(decisions(first) == decisions(second))


def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The highest logit minus the second (N,) float64, in logit units; 0 where undecided."""
    logits = class_logits(outputs)
    two = np.sort(logits, axis=1)[:, -2:]
    with np.errstate(invalid="ignore"):
        return np.where(_undecided(logits), 0.0, two[:, 1] - two[:, 0])


def per_class(
    outputs: Mapping[str, np.ndarray], targets: np.ndarray, labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    """{label: {"metric": recall, "n": samples}}; a class without samples has no recall and is left out."""
    logits = class_logits(outputs)
    if len(labels) != logits.shape[1]:
        raise BundleError(f"{len(labels)} labels for {logits.shape[1]} classes", where="labels")

    targets = _checked_targets(logits, targets)
    right = decisions(outputs) == targets
    return {
        label: {"metric": float(right[targets == i].mean()), "n": int((targets == i).sum())}
        for i, label in enumerate(labels)
        if (targets == i).any()
    }


def chance(targets: np.ndarray) -> float:
    """The share of the most frequent class: the accuracy of an answer that looks at no input."""
    targets = np.asarray(targets).reshape(-1)
    if len(targets) == 0:
        raise DataError("no samples to measure", where="targets")
    return float(np.unique(targets, return_counts=True)[1].max() / len(targets))


def extra_metrics(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> dict[str, float]:
    """What accuracy hides on uneven classes: `balanced_accuracy`, `macro_f1`, and `auc` where it is defined.

    Means over the classes that have samples. `auc` is the rank statistic of Mann and Whitney with ties counted half,
    one class against the rest; it is left out when a row is undecided or only one class has samples.
    """
    logits = class_logits(outputs)
    targets = _checked_targets(logits, targets)
    decided = decisions(outputs)
    classes = np.unique(targets)
    recalls, scores = [], []

    for i in classes:
        hits = float(((decided == i) & (targets == i)).sum())
        present, claimed = float((targets == i).sum()), float((decided == i).sum())
        recalls.append(hits / present)
        scores.append(2 * hits / (present + claimed))

    result = {"balanced_accuracy": float(np.mean(recalls)), "macro_f1": float(np.mean(scores))}
    if len(classes) > 1 and not _undecided(logits).any():
        shares = probabilities(logits)
        # of two classes the difference of the logits ranks finer than a softmax that has run into 0 and 1
        ranking = logits - logits[:, ::-1] if logits.shape[1] == 2 else shares
        result["auc"] = float(np.mean([auc(ranking[:, i], targets == i) for i in classes]))

    return result


def confusion(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> np.ndarray:
    """int64 (C, C): how many samples of a class (row) were taken for which one (column), undecided ones left out."""
    logits = class_logits(outputs)
    targets, decided, classes = _checked_targets(logits, targets), decisions(outputs), logits.shape[1]
    is_decided = decided >= 0
    return np.bincount(targets[is_decided] * classes + decided[is_decided], minlength=classes**2).reshape(
        classes, classes
    )


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive scores above a negative, ties half (both kinds must be there)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    return (float(ranks[positive].sum()) - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)
