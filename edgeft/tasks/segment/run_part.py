"""Segmentation: logits (1, C, h, w) -> the shares of the classes at the picture's own size, as `edgeft predict`."""

import numpy as np

from ...core.runner import hook

VOID = 255


def compose(calls, spec):
    """A call that runs one row at a time: a picture's windows are as many rows."""
    (call,) = calls.values()

    def rows(feeds):
        count = len(next(iter(feeds.values())))
        parts = [call({name: value[i : i + 1] for name, value in feeds.items()}) for i in range(count)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return rows


def tell(outputs, raw, spec, labels):
    logits = np.asarray(next(iter(outputs.values())), np.float32)
    decided = joined(logits, raw.shape[:2], spec)
    shares = np.bincount(decided.ravel(), minlength=256)[: len(labels)] / decided.size
    order = [i for i in np.argsort(-shares, kind="stable")[:5] if shares[i] >= 0.005]
    return ", ".join(f"{labels[i]} {100 * shares[i]:.0f} %" for i in order) or "undecided"


def joined(logits, size, spec):
    """Class numbers (height, width) of a picture's logits (n, C, h, w): one row, or one a window."""
    if spec.get("kind") != "windows":
        return decided_pixels(logits[0], size)
    whole = np.empty(size, np.int64)
    for row, (top, left, rows, columns) in zip(logits, hook("windows_of")(size[0], size[1], spec)):
        part = decided_pixels(row, tuple(spec["size"]))
        part = part[rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left]
        whole[rows[0] : rows[1], columns[0] : columns[1]] = part
    return whole


def decided_pixels(logits, size):
    """Class numbers (height, width) of logits (C, h, w), enlarged bilinearly (half-pixel centres); VOID = undecided."""
    rows, columns = (mixing(old, new) for old, new in zip(logits.shape[1:], size))
    with np.errstate(invalid="ignore"):
        large = np.matmul(np.matmul(rows, logits), columns.T) if logits.shape[1:] != tuple(size) else logits
    return np.where(np.isfinite(large.max(axis=0)), large.argmax(axis=0), VOID)


def mixing(old, new):
    """Weights (new, old): each new place is a mixture of the two nearest old ones."""
    at = np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0.0)
    low = np.minimum(at.astype(np.int64), old - 1)
    share = (at - low).astype(np.float32)
    weights = np.zeros((new, old), np.float32)
    np.add.at(weights, (np.arange(new), low), 1 - share)
    np.add.at(weights, (np.arange(new), np.minimum(low + 1, old - 1)), share)
    return weights


def decisions(expected, got, allowed):
    """(cells of the same class, all of them, whether every one that differs was a close call) of (n, C, h, w)."""
    top = np.sort(expected, axis=1)
    same = got.argmax(axis=1) == expected.argmax(axis=1)
    return int(same.sum()), same.size, bool((same | (top[:, -1] - top[:, -2] <= allowed)).all())
