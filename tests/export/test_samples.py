"""The samples that a bundle carries: those at the ends of an output's range are among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeft import data, tasks
from edgeft.config.recipe import Data
from edgeft.export import samples

SPEC = {"kind": "vector", "size": [2], "mean": [0.0, 0.0], "std": [1.0, 1.0], "input": "x"}


def test_the_ends_of_an_output_are_carried(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(300, 2)).astype(np.float32)
    np.savez(tmp_path / "run.npz", obs=seen, acts=seen[:, :1], indices=np.arange(10, 300, 10))
    split = data.open(Data(format="trajectories", path=str(tmp_path / "run.npz")), "control").split("test")
    control, count = tasks.get("control"), len(split)

    plain = samples.carried_samples(control, SPEC, split)
    free = [at for at in range(count) if at not in plain.positions]
    outputs = rng.uniform(-1, 1, (count, 2))
    outputs[free[0], 1], outputs[free[1], 0] = -5, 7

    carried = samples.with_extremes(plain, control, SPEC, split, [outputs])
    assert carried.positions == (*plain.positions[:-2], free[0], free[1])
    assert (carried.inputs["x"] == np.stack([split.raw(at) for at in carried.positions])).all()
    assert np.ptp(outputs[list(carried.positions)]) == np.ptp(outputs)

    again = samples.with_extremes(carried, control, SPEC, split, [outputs])
    assert again is carried and samples.with_extremes(plain, control, SPEC, split, []) is plain
