"""Any outputs, each in short: as edgeft/tasks/regress/decoding.py."""

import numpy as np


def tell(outputs, raw, spec, labels):
    words = []
    names = spec.get("outputs", [])
    fits = len(names) == len(outputs) == len(set(names))

    for name, values in zip(names if fits else list(outputs), outputs.values()):
        values = np.asarray(values, np.float64)[0].reshape(-1)
        if not np.isfinite(values).all():
            text = "values that are not finite"
        elif values.size <= 4:
            text = ", ".join(f"{value:.4g}" for value in values)
        else:
            text = f"{values.size} values, {values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g}"
        words.append(f"{name}: {text}" if len(outputs) > 1 else text)

    return "; ".join(words)
