"""Boxes from a detector's raw outputs, in the picture's own pixels: as in edgeft/metrics/ and tasks/detect."""

import numpy as np

from ...inputs.run_letterbox import letterbox

STRIDE, SIDES, NMS_IOU, SHOWN, CANDIDATES, MOST = 8, 4.0, 0.6, 0.3, 1000, 100


def tell(outputs, raw, spec, labels):
    names = sorted(outputs, key=lambda name: int(name.rsplit("_", 1)[-1]))
    arrays, size = [outputs[name][0].astype(np.float64) for name in names], spec["size"]
    is_set = arrays[0].ndim == 2
    scores, place_of = of_set(arrays, size) if is_set else of_cells(arrays)
    scores = np.where(np.isnan(scores), -np.inf, scores)
    best = scores.max(axis=1)
    at = np.flatnonzero((best >= np.log(SHOWN / (1 - SHOWN))) & np.isfinite(place_of).all(axis=1))
    at = at[np.argsort(-best[at], kind="stable")[:CANDIDATES]]
    kinds, found_boxes = scores[at].argmax(axis=1), np.clip(place_of[at], 0, [size[1], size[0], size[1], size[0]])
    rows, columns, top, left = letterbox(raw.shape[0], raw.shape[1], size)
    words = []

    for i in (range(len(at)) if is_set else kept(found_boxes, kinds))[:MOST]:
        scale = np.array([columns / raw.shape[1], rows / raw.shape[0]] * 2)
        box = np.clip((found_boxes[i] - [left, top, left, top]) / scale, 0, [raw.shape[1], raw.shape[0]] * 2)
        score = 100 / (1 + np.exp(-best[at][i]))
        words.append("{} {:.0f} % at {:.0f},{:.0f} to {:.0f},{:.0f}".format(labels[kinds[i]], score, *box))

    return "; ".join(words) or "nothing"


def of_cells(arrays):
    """Log-odds (A, C) and boxes (A, 4) in input pixels of class logits and boxes of each level, finest first."""
    logits, boxes, finest = [], [], arrays[0].shape[1]
    for classes, values in zip(arrays[::2], arrays[1::2]):
        h, w = classes.shape[1:]
        stride = STRIDE * finest // h
        y, x = np.divmod(np.arange(h * w), w)
        values = values.reshape(4, -1, h * w)
        logits.append(classes.reshape(len(classes), -1).T)
        if values.shape[1] > 1:  # logits of distances to the four sides
            powers = np.exp(values - values.max(axis=1, keepdims=True))
            bins = np.arange(values.shape[1]).reshape(1, -1, 1)
            sides = (powers * bins).sum(axis=1) / powers.sum(axis=1)
            corners = [x + 0.5 - sides[0], y + 0.5 - sides[1], x + 0.5 + sides[2], y + 0.5 + sides[3]]
            boxes.append(np.stack(corners, axis=1) * stride)
            continue
        values = values[:, 0]
        cx, cy = (x + 0.5 + values[0]) * stride, (y + 0.5 + values[1]) * stride
        half = 0.5 * SIDES * stride * np.exp(np.clip(values[2:], -6, 6))
        boxes.append(np.stack([cx - half[0], cy - half[1], cx + half[0], cy + half[1]], axis=1))

    return np.concatenate(logits), np.concatenate(boxes)


def of_set(arrays, size):
    """The same of queries: class logits, logits of "no object" where there are any, and boxes cx cy w h as shares."""
    scores, (cx, cy, w, h) = arrays[0], arrays[-1].T
    if len(arrays) == 3:
        every = np.concatenate(arrays[:2], axis=1)
        shifted = every - every.max(axis=1, keepdims=True)
        powers = np.exp(shifted)
        others = powers.sum(axis=1, keepdims=True) - powers
        scores = (shifted - np.log(np.maximum(others, 1e-300)))[:, :-1]

    boxes = np.clip(np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1), 0, 1)
    return scores, boxes * [size[1], size[0], size[1], size[0]]


def in_order_of(expected, got):
    """`got` with the queries of each set in the order of those in `expected` that they are closest to."""
    if any(values.ndim != 3 for values in got.values()):
        return got

    ordered = {name: values.copy() for name, values in got.items()}
    ranges = {name: max(float(np.ptp(values)), 1e-30) for name, values in expected.items()}
    for i in range(len(next(iter(got.values())))):
        free = list(range(next(iter(got.values())).shape[1]))
        for q in range(len(free)):
            apart = [np.abs(got[k][i, free] - expected[k][i, q]).mean(axis=1) / ranges[k] for k in sorted(got)]
            partner = free.pop(int(np.max(apart, axis=0).argmin()))
            for name in got:
                ordered[name][i, q] = got[name][i, partner]

    return ordered


def kept(boxes, kinds):
    """Positions of the boxes that stay, of boxes sorted best first."""
    alive, stay = np.ones(len(boxes), bool), []
    areas = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        stay.append(i)
        inner = np.minimum(boxes[i, 2:], boxes[:, 2:]) - np.maximum(boxes[i, :2], boxes[:, :2])
        shared = np.clip(inner, 0, None).prod(axis=1)
        union = np.maximum(areas[i] + areas - shared, 1e-12)
        alive &= (shared / union <= NMS_IOU) | (kinds != kinds[i])

    return stay
