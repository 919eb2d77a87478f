"""What a replayed sample is to give."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from edgeft.personalize import learn


class Tail:
    """Logits that grow with the latent; three classes and a spare output."""

    def run(self, feeds: Any) -> dict[str, np.ndarray]:
        return {"output": feeds["latent_0"] @ np.array([[1.0, 0.0, -1.0, 9.0]], np.float32)}


def plan() -> Any:
    return SimpleNamespace(latents=[SimpleNamespace(scale=None)], loss="cross-entropy", spare=1)


def test_half_the_recorded_class_half_what_was_said() -> None:
    latents, classes = np.array([[0.0], [2.0], [200.0]], np.float32), np.array([1, 0, 2])
    rows = learn.remembered(plan(), [], Tail(), ([latents], classes), 3)  # type: ignore[arg-type]
    said = np.exp([2.0, 0.0, -2.0]) / np.exp([2.0, 0.0, -2.0]).sum()
    third = 1 / 3
    wanted = [
        [third / 2, 0.5 + third / 2, third / 2, 0],
        [0.5 + said[0] / 2, said[1] / 2, said[2] / 2, 0],
        [0.5, 0, 0.5, 0],
    ]
    np.testing.assert_allclose(rows, wanted, atol=1e-6)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)  # the spare output, which has no class yet, gets none
