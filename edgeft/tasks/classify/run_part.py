"""Classes: logits (1, C) -> the likeliest label and its share; also for keyword and text-classify."""

import numpy as np


def tell(outputs, raw, spec, labels):
    logits = np.asarray(outputs.get("logits", next(iter(outputs.values()))), np.float64).reshape(-1)
    if not np.isfinite(logits.max()):
        return "undecided (the outputs are not finite)"
    powers = np.exp(logits - logits.max())
    best = int(logits.argmax())
    return f"{labels[best]} {100 * powers[best] / powers.sum():.1f} %"


def decisions(expected, got, allowed):
    """(same decisions, all of them, whether every one that differs was a close call) of logits (n, C)."""
    top = np.sort(expected, axis=1)
    same = got.argmax(axis=1) == expected.argmax(axis=1)
    return int(same.sum()), len(same), bool((same | (top[:, -1] - top[:, -2] <= allowed)).all())
