"""One value in its unit; as in edgeft_example/tabular/decoding.py."""

import numpy as np


def tell(outputs, raw, spec, labels):
    value = float(np.asarray(next(iter(outputs.values())), np.float64).reshape(-1)[0])
    return f"{labels[0]} {value:.4g}" if np.isfinite(value) else f"{labels[0]} undecided"
