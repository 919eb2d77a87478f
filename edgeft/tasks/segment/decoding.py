"""Semantic segmentation: one class for every pixel; the metric is mean intersection over union (mIoU), void left out.

Outputs are logits (N, C, h, w) on a grid coarser than the picture. They are enlarged to the mask (bilinear, half-pixel
centres, as torch's `interpolate` with align_corners=False) and the highest wins; counts of all pixels of a split make
one confusion matrix. Targets are an object array (N,) whose elements are masks uint8 (H, W), or become ones by
`np.asarray` (`mask.StoredMask`); `mask.VOID` pixels do not count.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import BundleError, DataError, nearest
from ...core.metric import Metric
from ...inputs import image, mask, windows
from ...inputs.image import read

__all__ = [
    "EXTRA_METRICS",
    "METRIC",
    "NAME",
    "alike",
    "chance",
    "configure",
    "decisions",
    "decode",
    "describe",
    "draw",
    "draw_beside",
    "extra_metrics",
    "join",
    "margins",
    "metric",
    "metric_of",
    "per_class",
    "per_sample",
    "pictures",
    "preprocess",
    "read",
    "statistics",
    "tell",
    "windows_of",
]

NAME = "segment"
METRIC = Metric("mIoU", "fraction", max_drop=0.01, chance="the commonest class everywhere")
EXTRA_METRICS = (Metric("pixel_accuracy", "fraction"), Metric("frequency_weighted_iou", "fraction"))
#: a class of a smaller share of the pixels is not spoken of
_SMALLEST = 0.005
#: confusion matrices that are remembered: gates ask for those of the same outputs many times
_REMEMBERED = 20_000
_counted: OrderedDict[bytes, np.ndarray] = OrderedDict()


def _logits(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    if len(outputs) != 1:
        raise BundleError(f"several outputs ({', '.join(outputs)}), expected one of shape (samples, classes, h, w)")
    logits = np.asarray(next(iter(outputs.values())))
    if logits.ndim != 4 or logits.shape[1] < 2 or logits.shape[1] > mask.VOID:
        shape = f"the output has shape {logits.shape}, expected (samples, 2..{mask.VOID} classes, height, width)"
        raise BundleError(shape, where="graphs.outputs")
    return logits


_KINDS: dict[str, Any] = {"image": image, windows.KIND: windows}


# --- what goes in -----------------------------------------------------------------------------------------------------


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The `preprocess` table of pictures that are seen whole, or in windows (`windows.configure`)."""
    stated = bool(data.size or defaults.get("size_stated"))
    return windows.configure(data, image.configure(data, defaults, facts, say), facts, stated, say)


def preprocess(raw: np.ndarray, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """One feed of one row, or of one a window; raises as `image.preprocess` and `windows.preprocess`."""
    feeds: dict[str, np.ndarray] = _kind(spec).preprocess(raw, spec)
    return feeds


def windows_of(height: int, width: int, spec: Mapping[str, Any]) -> list[windows.Window]:
    """The windows that a picture of `height` x `width` is seen in."""
    return windows.of(height, width, spec)


def _kind(spec: Mapping[str, Any]) -> Any:
    if spec.get("kind") not in _KINDS:
        raise BundleError(f"is {spec.get('kind')!r}, expected {' or '.join(_KINDS)}", where="preprocess.kind")
    return _KINDS[str(spec["kind"])]


# --- what is seen -----------------------------------------------------------------------------------------------------


def tell(
    outputs: Mapping[str, np.ndarray], raw: np.ndarray, spec: Mapping[str, Any], labels: Sequence[str], *, top: int = 5
) -> dict[str, Any]:
    """`decode` of the one sample `raw`, at its own height and width."""
    logits = _logits(outputs)
    return _told(_classes(logits, raw.shape[0], raw.shape[1], spec), logits.shape[1], labels, top)


def _classes(logits: np.ndarray, height: int, width: int, spec: Mapping[str, Any]) -> np.ndarray:
    """Class numbers uint8 (height, width) of a picture's logits: one row, or one a window."""
    if spec.get("kind") != windows.KIND:
        (row,) = logits
        return mask.classes(row, (height, width))

    size, joined = (int(spec["size"][0]), int(spec["size"][1])), np.empty((height, width), np.uint8)
    for row, window in zip(logits, windows_of(height, width, spec), strict=True):
        joined[slice(*window.rows), slice(*window.columns)] = mask.classes(row, size)[windows.decided(window)]
    return joined


def decode(outputs: Mapping[str, np.ndarray], labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sample, at the graph's own resolution: `label` ("Road 38 %, Sky 21 %"), `classes` [{label, share of the
    pixels}], largest first, `size` [height, width], and `mask`, class numbers uint8 (height, width), no JSON value:
    who writes JSON leaves arrays out."""
    logits = _logits(outputs)
    return [
        _told(mask.classes(sample_logits, sample_logits.shape[1:]), logits.shape[1], labels, top)
        for sample_logits in logits
    ]


def _told(classes: np.ndarray, count: int, labels: Sequence[str], top: int) -> dict[str, Any]:
    if len(labels) != count:
        raise BundleError(f"{len(labels)} labels for {count} classes", where="labels")
    shares = _shares(classes, count)
    order = [int(i) for i in np.argsort(-shares, kind="stable") if shares[i] > 0]
    ranked = [{"label": str(labels[i]), "share": float(shares[i])} for i in order]
    return {"label": _words(shares, labels, top), "classes": ranked, "size": list(classes.shape), "mask": classes}


def _shares(classes: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(classes.ravel(), minlength=256)[:count] / max(classes.size, 1)


def _words(shares: np.ndarray, labels: Sequence[str], top: int = 5) -> str:
    order = [i for i in np.argsort(-shares, kind="stable")[:top] if shares[i] >= _SMALLEST]
    return ", ".join(f"{labels[i]} {100 * shares[i]:.0f} %" for i in order) or "undecided"


def describe(target: Any, labels: Sequence[str]) -> str:
    """The shares of the classes in a mask, void counted as nothing."""
    return _words(_shares(np.asarray(target), len(labels)), labels)


def draw(raw: np.ndarray, decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The picture under the colours of what was decoded."""
    return {"image": mask.overlay(raw, decoded["mask"], mask.VOID)}


def draw_beside(raw: np.ndarray, decoded: Mapping[str, Any], target: Any) -> dict[str, Any]:
    """What was decoded, and below it the true mask."""
    truth = mask.overlay(raw, np.asarray(target), mask.VOID)
    return {"image": np.concatenate([draw(raw, decoded)["image"], truth])}


def pictures(raw: np.ndarray, decoded: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Files that a user may want: `overlay` uint8 (H, W, 3), and `mask`, class numbers uint8 (H, W)."""
    return {"overlay": draw(raw, decoded)["image"], "mask": decoded["mask"]}


# --- how good it is ---------------------------------------------------------------------------------------------------


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """Masks numbered by `ours` as masks numbered by `theirs`, by name; `DataError` for a name they do not have."""
    unknown = [label for label in ours if label not in theirs]
    if unknown:
        raise DataError(
            f"the data has the class {unknown[0]!r}, the bundle knows {', '.join(theirs)}",
            where=where,
            remedy=f"classes are joined by name: rename it, or make it void; {nearest(unknown[0], theirs)}",
        )

    numbers = np.array([list(theirs).index(label) for label in ours])
    if (numbers == np.arange(len(ours))).all():
        return targets

    table = np.full(256, mask.VOID, np.uint8)
    table[: len(numbers)] = numbers
    joined = np.empty(len(targets), object)

    for i, truth in enumerate(targets):
        stored = isinstance(truth, mask.StoredMask)
        joined[i] = truth.renumbered(numbers) if stored else table[np.asarray(truth)]

    return joined


def statistics(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> list[np.ndarray]:
    """One confusion matrix int64 (C, C + 1) a sample, [true class, decided class], over the pixels that are not void.

    The last column counts pixels that are undecided (logits that are not finite): they are wrong.
    """
    logits = _logits(outputs)
    if len(targets) != len(logits):
        raise DataError(f"{len(logits)} outputs for {len(targets)} targets", where="targets")
    if not len(targets):
        raise DataError("no samples to measure", where="targets")
    return [_confusion(sample_logits, target) for sample_logits, target in zip(logits, targets)]


def _confusion(logits: np.ndarray, target: Any) -> np.ndarray:
    digest = hashlib.blake2b(f"{logits.shape} {logits.dtype}".encode())
    digest.update(np.ascontiguousarray(logits).tobytes())
    # a mask on disk is known by its name: it is not read again for outputs that were counted already
    digest.update(repr(target).encode() if isinstance(target, mask.StoredMask) else np.asarray(target).tobytes())
    key = digest.digest()

    if key not in _counted:
        _counted[key] = _count(logits, np.asarray(target))
        if len(_counted) > _REMEMBERED:
            _counted.popitem(last=False)

    return _counted[key]


def _count(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if truth.ndim != 2:
        raise DataError(f"a mask has shape {truth.shape}, expected (height, width)", where="targets")
    count, valid = logits.shape[0], truth != mask.VOID
    if truth[valid].max(initial=0) >= count:
        raise DataError(f"class number {truth[valid].max()} for a model of {count} classes", where="targets")
    decided = np.minimum(mask.classes(logits, (truth.shape[0], truth.shape[1])), count)  # VOID = undecided
    pairs = truth[valid].astype(np.int64) * (count + 1) + decided[valid]
    return np.bincount(pairs, minlength=count * (count + 1)).reshape(count, count + 1)


def metric_of(rows: Sequence[np.ndarray]) -> float:
    """mIoU of the samples whose confusion matrices are `rows`: the mean over the classes that occur or are claimed."""
    ious, present = _ious(np.sum(rows, axis=0))
    return float(ious[present].mean()) if present.any() else 0.0


def _ious(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intersection over union of each class, and whether it occurs or is claimed at all."""
    hits = np.diag(total).astype(np.float64)
    union = total[:, : len(total)].sum(axis=0) + total.sum(axis=1) - hits
    return hits / np.maximum(union, 1), union > 0


def metric(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float:
    """mIoU, 0..1, from one confusion matrix over all samples. Raises `DataError` without samples."""
    return metric_of(statistics(outputs, targets))


def per_sample(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> None:
    """mIoU is no mean over samples."""


def decisions(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The class of each cell of the graph's own grid, (N, h, w) int64; -1 where undecided."""
    logits = _logits(outputs)
    return np.where(np.isfinite(logits.max(axis=1)), logits.argmax(axis=1), -1).astype(np.int64)


def alike(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N, h, w) bool: the same class in a cell."""
    return np.asarray(decisions(first) == decisions(second))


def margins(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The highest logit minus the second of each cell, (N, h, w); 0 where undecided."""
    two = np.partition(_logits(outputs).astype(np.float64), -2, axis=1)[:, -2:]
    with np.errstate(invalid="ignore"):
        gap = two[:, 1] - two[:, 0]
    return np.where(np.isfinite(gap), gap, 0.0)


def per_class(
    outputs: Mapping[str, np.ndarray], targets: np.ndarray, labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    """{label: {"metric": IoU, "n": samples that have pixels of it}}; a class without any is left out."""
    rows = statistics(outputs, targets)
    if len(labels) != len(rows[0]):
        raise BundleError(f"{len(labels)} labels for {len(rows[0])} classes", where="labels")
    ious, _ = _ious(np.sum(rows, axis=0))
    samples = np.sum([row.sum(axis=1) > 0 for row in rows], axis=0)
    return {str(k): {"metric": float(ious[i]), "n": int(samples[i])} for i, k in enumerate(labels) if samples[i]}


def extra_metrics(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> dict[str, float]:
    """`pixel_accuracy`, and `frequency_weighted_iou`: IoU weighted by each class's share of the true pixels."""
    total = np.sum(statistics(outputs, targets), axis=0)
    weights = total.sum(axis=1) / max(int(total.sum()), 1)
    accuracy = float(np.trace(total) / max(int(total.sum()), 1))
    return {"pixel_accuracy": accuracy, "frequency_weighted_iou": float((weights * _ious(total)[0]).sum())}


def chance(targets: np.ndarray) -> float:
    """mIoU of calling every pixel the commonest class."""
    if not len(targets):
        raise DataError("no samples to measure", where="targets")
    counts = np.sum([np.bincount(np.asarray(t).ravel(), minlength=256)[: mask.VOID] for t in targets], axis=0)
    return float(counts.max() / max(int(counts.sum()), 1) / max(int((counts > 0).sum()), 1))
