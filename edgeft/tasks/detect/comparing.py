"""What two sets of outputs decide about a picture, box by box, and how far each box is from another decision.

A box that is shown near the limit of showing, that is almost another class's, or that a rival of nearly its score could
replace is decided by rounding. Such a box is no evidence of a fault; all other boxes of its picture still are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...metrics.box_form import BoxForm
from ...metrics.boxes import CANDIDATES, overlaps
from ...metrics.detections import form_of, survivors_of
from ..record import Decisions, Outputs, Steps

#: boxes are shown from this score on
SHOWN = 0.3
#: two shown boxes are the same when they are of one class and overlap at least so much
SAME_IOU = 0.8
#: a candidate this far below `SHOWN` (in logits) is none that rounding could show
NEAR = 3.0
#: two boxes whose overlap is this close to the limit of suppression may be one or two
CLOSE = 0.05
#: agreement leaves out boxes whose score is this close to `SHOWN`
CLOSE_SCORE = 0.05
_FLOOR = float(np.log(SHOWN / (1 - SHOWN)))


@dataclass(frozen=True)
class Boxes:
    """The shown boxes of one picture, best first.

    `place` float64 (K, 4) is x1 y1 x2 y2 in the unit of the outputs' form, `kind` int64 (K,), `score` logits (K,), and
    `margin` (K,) how far each is from another decision. `hidden` is how far the best candidate that is
    not shown is from being shown. Distances are in logits, or in LSB where the outputs' steps are known.
    """

    place: np.ndarray
    kind: np.ndarray
    score: np.ndarray
    margin: np.ndarray
    hidden: float


def compare(first: Outputs, second: Outputs, steps: Steps | None = None) -> Decisions:
    """Every box that is shown by `first` or `second`, matched one to one by class and an overlap of `SAME_IOU`.

    A box without a partner is a decision that differs, with the margin that it has in the outputs that show it. A
    picture of which both show nothing is one decision, as far from flipping as its best candidate is from being shown.
    `steps` {output name: LSB} gives margins in LSB of the class logits' outputs; None leaves them in logits.
    """
    both = [boxes_of(outputs, steps) for outputs in (first, second)]
    rows: list[tuple[int, bool, float, bool]] = []
    for sample, (expected, shown) in enumerate(zip(*both)):
        if not len(expected.kind) and not len(shown.kind):
            rows.append((sample, True, expected.hidden, True))
            continue

        partner = _partners(expected, shown)
        rows += [
            (sample, at >= 0, margin, _scored_clearly(score))
            for at, margin, score in zip(partner, expected.margin, expected.score)
        ]
        alone = np.setdiff1d(np.arange(len(shown.kind)), partner)
        rows += [(sample, False, shown.margin[k], _scored_clearly(shown.score[k])) for k in alone]

    samples, equal, margins, counted = zip(*rows) if rows else ((), (), (), ())

    return Decisions(
        np.array(samples, np.int64), np.array(equal, bool), np.array(margins, np.float64), np.array(counted, bool)
    )


def _scored_clearly(logit: float) -> bool:
    return bool(abs(1 / (1 + np.exp(-min(logit, 700.0))) - SHOWN) >= CLOSE_SCORE)


def _partners(first: Boxes, second: Boxes) -> np.ndarray:
    """For each box of `first` the position of its partner in `second`, -1 where it has none; no partner twice."""
    shared = overlaps(first.place, second.place)
    shared[first.kind[:, None] != second.kind[None]] = 0
    partner = np.full(len(first.kind), -1, np.int64)

    for row in range(len(partner)):
        best = int(shared[row].argmax()) if shared.shape[1] else 0
        if shared.shape[1] and shared[row, best] >= SAME_IOU:
            partner[row] = best
            shared[:, best] = 0

    return partner


def boxes_of(outputs: Outputs, steps: Steps | None = None) -> list[Boxes]:
    """The shown boxes of each picture with their margins; see `compare` for `steps`."""
    form = form_of(outputs)
    units = form.units(outputs, dict.fromkeys(outputs, 1.0) if steps is None else steps)
    if steps is None:
        units = np.ones_like(units)
    return [_boxes(form, outputs, i, units) for i in range(form.counts(outputs)[0])]


def _boxes(form: BoxForm, outputs: Outputs, i: int, units: np.ndarray) -> Boxes:
    logits, place = form.candidates(outputs, i)
    height, width = form.extent(outputs)
    logits = np.where(np.isnan(logits), -np.inf, logits)
    best = logits.max(axis=1)
    at = np.flatnonzero((best >= _FLOOR - NEAR) & np.isfinite(place).all(axis=1))
    at = at[np.argsort(-best[at], kind="stable")[:CANDIDATES]]
    score, kind, unit = best[at], logits[at].argmax(axis=1), units[at]
    place = np.clip(place[at], 0, [width, height, width, height])

    survivors = survivors_of(form, place, kind)
    shown = survivors[score[survivors] >= _FLOOR]
    hidden = survivors[score[survivors] < _FLOOR]
    margin = np.minimum(NEAR, score[shown] - _FLOOR) / unit[shown]

    if logits.shape[1] > 1:
        second = np.partition(logits[at[shown]], -2, axis=1)[:, -2]
        margin = np.minimum(margin, (score[shown] - second) / unit[shown])

    if form.nms_iou is not None:
        visible = np.flatnonzero(score >= _FLOOR - np.max(unit, initial=0.0))
        margin = np.minimum(margin, _contested(form.nms_iou, place, kind, score, unit, shown, visible))

    gap = ((_FLOOR - score[hidden]) / unit[hidden]).min(initial=NEAR / float(units.max()))
    return Boxes(place[shown], kind[shown].astype(np.int64), score[shown], margin, float(gap))


def _contested(
    most: float,
    place: np.ndarray,
    kind: np.ndarray,
    score: np.ndarray,
    unit: np.ndarray,
    shown: np.ndarray,
    visible: np.ndarray,
) -> np.ndarray:
    """How far each of the boxes `shown` is from being suppressed or replaced by another candidate of its class (K,).

    Boxes of a class overlap by at most `most`. All are sorted best first, so that of two positions the lower one
    suppresses. `visible` are candidates that are shown unless another one suppresses them.
    """
    shared = overlaps(place[shown], place[visible])
    same_class = kind[shown][:, None] == kind[visible][None]
    ahead = (score[shown][:, None] - score[visible][None]) / np.maximum(unit[shown][:, None], unit[visible][None])
    earlier, later = visible[None] < shown[:, None], visible[None] > shown[:, None]
    survives = np.isin(visible, shown)[None]
    margin = np.full(len(shown), np.inf)

    def limit(where: np.ndarray, values: np.ndarray) -> None:
        np.minimum(margin, np.where(same_class & where, values, np.inf).min(axis=1, initial=np.inf), out=margin)

    # a rival of a lower score that is another box: it takes the place when it comes to the higher score
    limit(later & (shared > most) & (shared < SAME_IOU), ahead)
    # a better box that nearly suppresses this one
    limit(earlier & survives & (shared > most - CLOSE), np.zeros_like(ahead))

    # a better candidate that would suppress this one, were it not suppressed itself by a box that it nearly overtakes
    by_box = same_class & (shared > most) & later
    gap = np.where(by_box, np.where(shared < most + CLOSE, 0.0, ahead), -np.inf).max(axis=0, initial=-np.inf)
    suppressed = np.where(np.isfinite(gap), gap, 0.0)[None]
    limit(earlier & ~survives & (shared > most - CLOSE), np.broadcast_to(suppressed, ahead.shape))

    return margin
