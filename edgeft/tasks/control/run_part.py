"""Controls: values (1, K) in their units, by name; as in edgeft/tasks/control/decoding.py."""

import numpy as np


def tell(outputs, raw, spec, labels):
    values = np.asarray(next(iter(outputs.values())), np.float64).reshape(-1)
    words = [f"{k} {amount(v)}" if np.isfinite(v) else f"{k} undecided" for k, v in zip(labels, values)]
    return ", ".join(words)


def amount(value):
    """Four digits; a large number is whole, not a power of ten."""
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
