"""Anomalies: the mean square of what is left of a row, as in edgeft/tasks/tabular_anomaly/decoding.py."""

import numpy as np


def tell(outputs, raw, spec, labels):
    score = float(np.square(np.asarray(next(iter(outputs.values())), np.float64)).mean())
    if not spec.get("threshold"):
        return f"score {score:.4g}" if np.isfinite(score) else "undecided (the outputs are not finite)"
    if not np.isfinite(score):
        return "anomaly: undecided"
    limit = spec["threshold"]["score"]
    word = "yes" if score > limit else "no"
    return f"anomaly: {word} (score {score:.4g}, threshold {limit:.4g})"
