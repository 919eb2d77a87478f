"""Segmentation: logits (1, C, h, w) -> the shares of the classes on the graph's own grid."""

import numpy as np


def tell(outputs, raw, spec, labels):
    logits = np.asarray(next(iter(outputs.values())), np.float64)[0]
    decided = logits.argmax(axis=0)[np.isfinite(logits.max(axis=0))]
    if not decided.size:
        return "undecided (the outputs are not finite)"
    shares = np.bincount(decided, minlength=len(labels)) / logits[0].size
    order = [i for i in np.argsort(-shares, kind="stable")[:5] if shares[i] >= 0.005]
    return ", ".join(f"{labels[i]} {100 * shares[i]:.0f} %" for i in order)


def decisions(expected, got, allowed):
    """(cells of the same class, all of them, whether every one that differs was a close call) of (n, C, h, w)."""
    top = np.sort(expected, axis=1)
    same = got.argmax(axis=1) == expected.argmax(axis=1)
    return int(same.sum()), same.size, bool((same | (top[:, -1] - top[:, -2] <= allowed)).all())
