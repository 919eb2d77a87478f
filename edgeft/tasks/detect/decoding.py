"""Detection: where things of some classes are in a picture. The metric is AP50, the mean over classes.

Outputs have one of the forms of `metrics/detections.py`: class logits and boxes of each level, or of each query of a
set. Targets are one table a sample: `boxes` float32 (M, 4) x1 y1 x2 y2 and `size` int64 (2,) height and width in raw
pixels, `classes` int64 (M,), `crowd` bool (M,), and once preprocessing is known `input` int64 (2,), the network's.
Metrics are computed in pixels of the network's input, to which the true boxes are brought as the picture was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import BundleError, DataError
from ...core.metric import Metric
from ...inputs import letterbox
from ...inputs.letterbox import configure, preprocess, read
from ...metrics import average_precision as ap
from ...metrics.detections import detections, form_of
from .comparing import SHOWN, boxes_of, compare

__all__ = [
    "EXTRA_METRICS",
    "METRIC",
    "NAME",
    "SHOWN",
    "alike",
    "chance",
    "compare",
    "complete_target",
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
    "preprocess",
    "read",
    "statistics",
    "tell",
]

NAME = "detect"
METRIC = Metric("AP50", "fraction", max_drop=0.02)
EXTRA_METRICS = (Metric("ap50_95", "fraction"), Metric("ap75", "fraction"))
#: the metric counts boxes from this score on, ranked; they are shown from `SHOWN` on
COUNTED = 0.01
Outputs = Mapping[str, np.ndarray]


def decode(outputs: Outputs, labels: Sequence[str], *, top: int = 5) -> list[dict[str, Any]]:
    """Per sample `label` ("2 car, 1 bus"), `found` (boxes in words), `boxes`, in the unit of the outputs' form."""
    _check_labels(outputs, labels)
    return [_said(rows, labels) for rows in detections(outputs, SHOWN)]


def tell(outputs: Outputs, raw: Any, spec: Mapping[str, Any], labels: Sequence[str], *, top: int = 5) -> dict[str, Any]:
    """The same of the one sample `raw`, in its own pixels."""
    _check_labels(outputs, labels)
    (rows,) = detections(outputs, SHOWN)
    height, width = np.asarray(raw).shape[:2]
    size = letterbox.check(spec)[0].size
    rows = rows.copy()
    rows[:, :4] = letterbox.to_raw(rows[:, :4] * _scale(outputs, size), height, width, size)
    return _said(rows, labels)


def _check_labels(outputs: Outputs, labels: Sequence[str]) -> None:
    classes = form_of(outputs).counts(outputs)[1]
    if len(labels) != classes:
        raise BundleError(f"{len(labels)} labels for {classes} classes", where="labels")


def _scale(outputs: Outputs, size: tuple[int, int]) -> np.ndarray:
    """What brings boxes of the outputs to pixels of an input of `size` (height, width): float32 (4,)."""
    height, width = form_of(outputs).extent(outputs)
    return np.array([size[1] / width, size[0] / height] * 2, np.float32)


def complete_target(target: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """The target with the size of the network's input, `input`, which the outputs of a set do not tell."""
    return {**target, "input": np.asarray(letterbox.check(spec)[0].size, np.int64)}


def _said(rows: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    boxes = [
        {
            "label": str(labels[int(row[5])]),
            "class": int(row[5]),
            "score": float(row[4]),
            "box": [round(float(v), 1) for v in row[:4]],
        }
        for row in rows
    ]
    words = [
        "{} {:.0f} % at {:.0f},{:.0f} to {:.0f},{:.0f}".format(labels[int(row[5])], 100 * row[4], *row[:4])
        for row in rows
    ]

    return {"label": _counted(rows[:, 5], labels), "found": "; ".join(words), "boxes": boxes}


def _counted(classes: Any, labels: Sequence[str]) -> str:
    counts = Counter(int(k) for k in classes)
    return ", ".join(f"{n} {labels[k]}" for k, n in sorted(counts.items())) or "nothing"


def describe(target: Any, labels: Sequence[str]) -> str:
    """How many of each class there are, as `decode` puts it."""
    return _counted(np.asarray(target["classes"])[~np.asarray(target["crowd"], bool)], labels)


#: colours of found boxes by class; true ones are dashed and white
COLOURS = ((255, 215, 0), (0, 225, 255), (255, 60, 200), (90, 255, 60), (255, 130, 30), (150, 110, 255))
_TRUE = (255, 255, 255)
#: longest side of a drawn picture in pixels
DRAWN = 448


def draw(raw: Any, decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The picture with the boxes found, in a colour of their class."""
    return draw_beside(raw, decoded, None)


def draw_beside(raw: Any, decoded: Mapping[str, Any], target: Any) -> dict[str, Any]:
    """The same, and the true boxes of `target` dashed in white."""
    pixels = np.asarray(raw)
    skip = -(-max(pixels.shape[:2]) // DRAWN)
    pixels = pixels[::skip, ::skip]
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], -1)[:, :, :1], 3, axis=2)

    canvas = np.ascontiguousarray(pixels[:, :, :3]).copy()
    for box in reversed(list(decoded.get("boxes", ()))):
        _frame(canvas, np.asarray(box["box"]) / skip, COLOURS[box["class"] % len(COLOURS)], dash=0)

    if target is not None:
        for box in np.asarray(target["boxes"]):
            _frame(canvas, box / skip, _TRUE, dash=4)

    return {"image": canvas, "wide": True}


def _frame(pixels: np.ndarray, box: np.ndarray, colour: tuple[int, int, int], dash: int) -> None:
    """A rectangle two pixels thick; with `dash`, stretches of so many pixels with gaps as long."""
    h, w = pixels.shape[:2]
    x1, y1, x2, y2 = (int(v) for v in np.clip(np.rint(box), 0, [w - 1, h - 1, w - 1, h - 1]))
    across, along = np.arange(x1, x2 + 1), np.arange(y1, y2 + 1)
    if dash:
        across, along = across[(across - x1) // dash % 2 == 0], along[(along - y1) // dash % 2 == 0]
    for inward in (0, 1):
        pixels[min(y1 + inward, h - 1), across] = pixels[max(y2 - inward, 0), across] = colour
        pixels[along, min(x1 + inward, w - 1)] = pixels[along, max(x2 - inward, 0)] = colour


def join(targets: np.ndarray, ours: Sequence[str], theirs: Sequence[str], where: str) -> np.ndarray:
    """Class numbers of data with the labels `ours` as those of a bundle with the labels `theirs`, by name.

    Raises `DataError` for a class that the bundle does not know and that has boxes.
    """
    number = {name: i for i, name in enumerate(theirs)}
    used = {int(k) for target in targets for k in target["classes"]}
    unknown = [ours[k] for k in sorted(used) if ours[k] not in number]

    if unknown:
        raise DataError(
            f"the bundle knows no class {unknown[0]!r}, only {', '.join(theirs)}",
            where=where,
            remedy="rename the classes of the data, or leave that one out",
        )

    joined = np.empty(len(targets), object)
    for i, target in enumerate(targets):
        joined[i] = {**target, "classes": np.array([number[ours[int(k)]] for k in target["classes"]], np.int64)}

    return joined


def _matched(outputs: Outputs, targets: np.ndarray, thresholds: Sequence[float]) -> list[ap.Matches]:
    form = form_of(outputs)
    samples, classes = form.counts(outputs)
    if samples != len(targets):
        raise DataError(f"{samples} outputs for {len(targets)} targets", where="targets")
    if not len(targets):
        raise DataError("no samples to measure", where="targets")

    shown, truths = [], []
    for rows, target in zip(detections(outputs, COUNTED), targets):
        size = _input(target, form.extent(outputs))
        scaled = rows.copy()
        scaled[:, :4] *= _scale(outputs, size)
        shown.append(scaled)
        truths.append({**target, "boxes": letterbox.to_input(target["boxes"], target["size"], size)})

    return ap.matches(shown, truths, classes, thresholds)


def _input(target: Mapping[str, Any], extent: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the network's input in pixels, where outputs measure boxes in an input of `extent`."""
    height, width = target.get("input", extent)
    if min(height, width) <= 1:
        raise DataError(
            "the outputs are shares of a network's input whose size the targets do not state (`input`)",
            where="targets",
            remedy="complete them by the task's complete_target",
        )
    return int(height), int(width)


def statistics(outputs: Outputs, targets: np.ndarray) -> list[ap.Matches]:
    """What each sample adds to `metric_of`: its boxes matched at an overlap of 0.5."""
    return _matched(outputs, targets, ap.AP50)


def metric_of(statistics: Sequence[ap.Matches]) -> float:
    """AP50 over a selection of samples, mean over the classes that have boxes; 0 where none has."""
    values = ap.precision(statistics, ap.AP50)[0]
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def metric(outputs: Outputs, targets: np.ndarray) -> float:
    """AP at an overlap of 0.5 (0..1), mean over classes, by pycocotools. Raises `DataError` without samples."""
    return metric_of(statistics(outputs, targets))


def extra_metrics(outputs: Outputs, targets: np.ndarray) -> dict[str, float]:
    """`ap50_95`: COCO's own metric, the mean over overlaps 0.50, 0.55, ... 0.95; and `ap75`."""
    values = ap.precision(_matched(outputs, targets, ap.STRICT), ap.STRICT)
    if not np.isfinite(values).any():
        return {"ap50_95": 0.0, "ap75": 0.0}
    return {"ap50_95": float(np.nanmean(values)), "ap75": float(np.nanmean(values[5]))}


def per_sample(outputs: Outputs, targets: np.ndarray) -> None:
    """AP is no mean over samples."""


def per_class(outputs: Outputs, targets: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """{label: {"metric": AP50, "n": boxes}}; a class without boxes is left out."""
    _check_labels(outputs, labels)
    values = ap.precision(statistics(outputs, targets), ap.AP50)[0]
    counts = np.bincount(np.concatenate([np.asarray(t["classes"], np.int64) for t in targets]), minlength=len(labels))
    return {
        str(label): {"metric": float(values[k]), "n": int(counts[k])}
        for k, label in enumerate(labels)
        if np.isfinite(values[k])
    }


def decisions(outputs: Outputs) -> np.ndarray:
    """How many boxes of each class are shown, (N, C) int64."""
    classes = form_of(outputs).counts(outputs)[1]
    return np.stack([np.bincount(rows[:, 5].astype(int), minlength=classes) for rows in detections(outputs, SHOWN)])


def alike(first: Outputs, second: Outputs) -> np.ndarray:
    """(N,) bool: the same boxes are shown, each of the same class and with an overlap of at least `SAME_IOU`."""
    compared = compare(first, second)
    same = np.ones(form_of(first).counts(first)[0], bool)
    np.logical_and.at(same, compared.sample, compared.equal)
    return same


def margins(outputs: Outputs) -> np.ndarray:
    """(N,) logits by which a picture's boxes are decided: the least certain of its shown boxes, or the nearest
    candidate that is not shown; see `comparing`."""
    return np.array([min(boxes.margin.min(initial=np.inf), boxes.hidden) for boxes in boxes_of(outputs)], np.float64)


def chance(targets: np.ndarray) -> float:
    """Boxes that are drawn without looking at the picture find nothing: 0."""
    return 0.0
