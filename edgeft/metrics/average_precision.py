"""Average precision as COCO defines it (Lin et al. 2014), computed by pycocotools, picture by picture.

What one picture adds is kept apart, so that a bootstrap can draw pictures without matching boxes again.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import need
from .boxes import MOST

AP50 = (0.5,)
#: AP50-95: the mean over these overlaps
STRICT = tuple(float(v) for v in np.linspace(0.5, 0.95, 10))
_ALL = [0.0, 1e10]
#: what one picture adds: the evaluator's record of each class, None where it has neither boxes nor detections
Matches = tuple[dict[str, Any] | None, ...]


def matches(
    detections: Sequence[np.ndarray],
    truths: Sequence[Mapping[str, np.ndarray]],
    classes: int,
    thresholds: Sequence[float],
) -> list[Matches]:
    """Detections (K, 6) and truths {"boxes" (M, 4), "classes" (M,)[, "crowd" (M,)]} of each picture, matched.

    Boxes of both are x1 y1 x2 y2 in the same pixels. A crowd box may be met any number of times and counts for nothing.
    Raises `Missing` without pycocotools.
    """
    rows = []
    for i, (boxes, truth) in enumerate(zip(detections, truths)):
        judge = _evaluator([i], classes, thresholds)
        for number, (box, kind) in enumerate(zip(truth["boxes"], truth["classes"]), 1):
            crowd = int(truth["crowd"][number - 1]) if "crowd" in truth else 0
            judge._gts[i, int(kind)].append(_record(number, box, i, kind) | {"iscrowd": crowd, "ignore": crowd})

        for number, row in enumerate(np.asarray(boxes, np.float64), 1):
            judge._dts[i, int(row[5])].append(_record(number, row[:4], i, row[5]) | {"score": float(row[4])})
        judge.ious = {(i, kind): judge.computeIoU(i, kind) for kind in range(classes)}
        rows.append(tuple(judge.evaluateImg(i, kind, _ALL, MOST) for kind in range(classes)))

    return rows


def precision(rows: Sequence[Matches], thresholds: Sequence[float]) -> np.ndarray:
    """Average precision (thresholds, classes) float64 over the pictures `rows`; NaN for a class without boxes."""
    classes = len(rows[0])
    judge = _evaluator(list(range(len(rows))), classes, thresholds)
    judge.evalImgs = [row[kind] for kind in range(classes) for row in rows]
    judge._paramsEval = judge.params

    with contextlib.redirect_stdout(io.StringIO()):
        judge.accumulate()

    values = judge.eval["precision"][:, :, :, 0, 0]  # (thresholds, recalls, classes)
    means = values.mean(axis=1)
    return np.where(means < 0, np.nan, means)


def _evaluator(pictures: list[int], classes: int, thresholds: Sequence[float]) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        judge = need("pycocotools.cocoeval", package="pycocotools").COCOeval(iouType="bbox")
    settings = judge.params
    settings.imgIds, settings.catIds = pictures, list(range(classes))
    settings.iouThrs = np.asarray(thresholds, np.float64)
    settings.areaRng, settings.areaRngLbl, settings.maxDets = [_ALL], ["all"], [MOST]

    return judge


def _record(number: int, box: np.ndarray, picture: int, kind: Any) -> dict[str, Any]:
    x, y, w, h = float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])
    return {"id": number, "image_id": picture, "category_id": int(kind), "bbox": [x, y, w, h], "area": w * h}
