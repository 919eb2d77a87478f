"""The task tabular-anomaly: its metric, also of resamples and single rows, which may hold one kind of row alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeft import tasks
from edgeft.config.recipe import Gates
from edgeft.core.errors import DataError
from edgeft.core.verdict import FAIL, PASS
from edgeft.export.worst import worst
from edgeft.verify.accuracy import accuracy, drop_interval

TASK = tasks.get("tabular-anomaly")


def outputs_of(scores: list[float]) -> dict[str, np.ndarray]:
    """Two columns whose mean square is the score."""
    return {"left": np.sqrt(np.array(scores, np.float32))[:, None].repeat(2, axis=1)}


def test_the_metric_is_the_share_of_pairs_in_the_right_order() -> None:
    outputs, truth = outputs_of([1, 2, 3, 3, 5]), np.array([[0], [1], [0], [1], [1]], np.float32)
    # of six pairs of an anomaly and a normal row: 2 > 1, 2 < 3, 3 > 1, 3 = 3, 5 > 1, 5 > 3
    assert TASK.score(outputs, truth) == pytest.approx(4.5 / 6)
    assert TASK.statistics is not None and TASK.metric_of is not None
    rows = TASK.statistics(outputs, truth)
    assert TASK.metric_of(list(rows)) == pytest.approx(4.5 / 6)
    assert math.isnan(TASK.metric_of(list(rows[:1]))) and math.isnan(TASK.metric_of(list(rows[[1, 3, 4]])))
    with pytest.raises(DataError, match="rows of both kinds"):
        TASK.score(outputs, np.ones((5, 1)))


def test_no_single_row_is_the_worst() -> None:
    assert worst(TASK, outputs_of([1, 2, 3]), np.array([[0], [1], [0]]), 8) == []


def test_resamples_without_an_anomaly_do_not_end_the_interval() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((60, 1), np.float32)
    truth[:2] = 1  # two of sixty: one resample in eight has none
    scores = np.where(truth[:, 0] == 1, 9, 1) + rng.random(60)
    before, after = outputs_of(list(scores)), outputs_of(list(scores[::-1]))
    gates, labels = Gates(max_drop=0.01), ("fine", "broken")
    assert accuracy(TASK, before, before, truth, labels, gates).verdict == PASS
    assert accuracy(TASK, before, after, truth, labels, gates).verdict == FAIL
    low, high = drop_interval(TASK, before, after, truth) or (0.0, 0.0)
    assert 0 < low <= high <= 1
