"""A perceptron that steers, trained in a moment: a state of four numbers to two controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def tuned(folder: Path, quantize: dict[str, Any]) -> Path:
    """The run directory, below `folder`; `quantize` are keys of that table beside the calibration."""
    import edgeft

    rng = np.random.default_rng(0)
    states = rng.normal(size=(600, 4)).astype(np.float32)
    actions = np.stack([np.tanh(states[:, 0] - states[:, 1]), 3 * np.tanh(states[:, 2])], axis=1)
    np.savez(folder / "run.npz", obs=states, acts=actions.astype(np.float32), indices=np.arange(20, 600, 20))
    table = {
        "task": "control",
        "name": "arm",
        "model": {"source": "builtin", "name": "mlp", "args": {"hidden": [32, 32]}},
        "data": {"format": "trajectories", "path": str(folder / "run.npz")},
        "train": {"epochs": 12, "lr": 5e-3, "batch_size": 64},
        "quantize": {"calibration": "minmax", **quantize},
        "gates": {"min_speedup": 0, "min_int8_share": 0, "max_drop_relative": 0.5},
    }

    edgeft.tune(table, folder / "run")
    return folder / "run"
