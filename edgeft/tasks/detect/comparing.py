"""What two sets of outputs decide about a picture, box by box, and how far each box is from another decision.

A box that is shown near the limit of showing, that is almost another class's, or that a rival of nearly its score could
replace is decided by rounding. Such a box is no evidence of a fault; all other boxes of its picture still are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...metrics.boxes import CANDIDATES, NMS_IOU, Level, cells, input_size, levels, overlaps, suppress
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

    `place` float64 (K, 4) is x1 y1 x2 y2 in input pixels, `kind` int64 (K,), `score` logits (K,), and `margin` (K,) how
    far each is from another decision. `hidden` is how far the best candidate that is not shown is from being shown.
    Distances are in logits, or in LSB where the outputs' steps are known.
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
    pyramid = levels(outputs)
    units = _units(pyramid, steps)
    return [_boxes(pyramid, i, units) for i in range(len(pyramid[0].logits))]


def _units(pyramid: list[Level], steps: Steps | None) -> np.ndarray:
    """What one unit of a margin is at each cell (A,), in logits: the LSB of the level's class logits, or 1."""
    parts = []
    for level in pyramid:
        unit = 1.0 if steps is None else float(np.max(steps[level.name]))
        parts.append(np.full(level.logits.shape[2] * level.logits.shape[3], unit))

    return np.concatenate(parts)


def _boxes(pyramid: list[Level], i: int, units: np.ndarray) -> Boxes:
    logits, place = cells(pyramid, i)
    height, width = input_size(pyramid)
    logits = np.where(np.isnan(logits), -np.inf, logits)
    best = logits.max(axis=1)
    at = np.flatnonzero((best >= _FLOOR - NEAR) & np.isfinite(place).all(axis=1))
    at = at[np.argsort(-best[at], kind="stable")[:CANDIDATES]]
    score, kind, unit = best[at], logits[at].argmax(axis=1), units[at]
    place = np.clip(place[at], 0, [width, height, width, height])

    survivors = suppress(place, kind, NMS_IOU)
    shown = survivors[score[survivors] >= _FLOOR]
    hidden = survivors[score[survivors] < _FLOOR]
    margin = np.minimum(NEAR, score[shown] - _FLOOR) / unit[shown]
    if logits.shape[1] > 1:
        second = np.partition(logits[at[shown]], -2, axis=1)[:, -2]
        margin = np.minimum(margin, (score[shown] - second) / unit[shown])

    visible = np.flatnonzero(score >= _FLOOR - np.max(unit, initial=0.0))
    margin = np.minimum(margin, _contested(place, kind, score, unit, shown, visible))
    gap = ((_FLOOR - score[hidden]) / unit[hidden]).min(initial=NEAR / float(units.max()))
    return Boxes(place[shown], kind[shown].astype(np.int64), score[shown], margin, float(gap))


def _contested(
    place: np.ndarray, kind: np.ndarray, score: np.ndarray, unit: np.ndarray, shown: np.ndarray, visible: np.ndarray
) -> np.ndarray:
    """How far each of the boxes `shown` is from being suppressed or replaced by another candidate of its class (K,).

    All are sorted best first, so that of two positions the lower one suppresses. `visible` are candidates that
    are shown unless another one suppresses them.
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
    limit(later & (shared > NMS_IOU) & (shared < SAME_IOU), ahead)
    # a better box that nearly suppresses this one
    limit(earlier & survives & (shared > NMS_IOU - CLOSE), np.zeros_like(ahead))
    # a better candidate that would suppress this one, were it not suppressed itself by a box that it nearly overtakes
    by_box = same_class & (shared > NMS_IOU) & later
    gap = np.where(by_box, np.where(shared < NMS_IOU + CLOSE, 0.0, ahead), -np.inf).max(axis=0, initial=-np.inf)
    suppressed = np.where(np.isfinite(gap), gap, 0.0)[None]
    limit(earlier & ~survives & (shared > NMS_IOU - CLOSE), np.broadcast_to(suppressed, ahead.shape))

    return margin
