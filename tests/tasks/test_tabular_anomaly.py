"""The task tabular-anomaly: its metric, also of resamples and single rows, which may hold one kind of row alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runners import load

from edgeft import tasks
from edgeft.config.recipe import Gates
from edgeft.core.errors import BundleError, DataError
from edgeft.core.verdict import FAIL, PASS
from edgeft.export.worst import worst
from edgeft.report import words
from edgeft.verify.accuracy import accuracy, drop_interval
from edgeft.verify.other_figures import other_figures

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


def settled(scores: list[float], truth: list[int], allowed: float) -> dict[str, Any]:
    assert TASK.settle is not None
    return TASK.settle(outputs_of(scores), np.array(truth, np.float32)[:, None], {"false_alarms": allowed})


def test_the_threshold_is_the_score_that_a_further_normal_row_seldom_exceeds() -> None:
    rng = np.random.default_rng(1)
    exceeded = []
    for _ in range(300):
        normal = rng.exponential(size=40)
        table = settled([*normal, 99.0], [0] * 40 + [1], 0.1)["threshold"]
        assert table["n"] == 40 and table["score"] == pytest.approx(np.sort(normal)[37 - 1], rel=1e-5)
        exceeded.append(np.exp(-table["score"]))
    assert 0.08 < np.mean(exceeded) <= 0.103, "the promise: at most 0.1, here 4 of 41"


def test_few_normal_rows_give_their_largest_score_and_say_that_they_are_too_few() -> None:
    spec = settled([1, 3, 2, 50], [0, 0, 0, 1], 0.05)
    assert spec["threshold"]["score"] == pytest.approx(3) and settled([1, 2], [1, 1], 0.05) == {}
    assert TASK.settled is not None
    table = TASK.settled(outputs_of([2, 4, 2.5, 9]), np.array([[0], [0], [1], [1]]), spec)
    assert table["too_few"] and table["false_alarms"] == (1, 2) and table["detected"] == (1, 2)
    assert TASK.settled(outputs_of([1, 2]), np.array([[0], [1]]), {}) == {}


def test_a_row_is_told_to_be_an_anomaly_or_not_and_run_py_says_the_same(tmp_path: Path) -> None:
    part = load(tmp_path, "columns", "tabular-anomaly")
    spec = {"threshold": {"score": 2.0, "false_alarms": 0.05, "n": 40}}
    for score, anomaly, word in ((1.5, False, "no"), (2.5, True, "yes"), (math.nan, None, "undecided")):
        told = tasks.tell(TASK, outputs_of([score]), None, spec, ("normal", "anomaly"))
        assert told["anomaly"] is anomaly and told["label"].startswith(f"anomaly: {word}")
        assert part.tell(outputs_of([score]), None, spec, ("normal", "anomaly")) == told["label"]
    plain = tasks.tell(TASK, outputs_of([1.5]), None, {}, ("normal", "anomaly"))
    assert set(plain) == {"label", "score"} and part.tell(outputs_of([1.5]), None, {}, ()) == plain["label"]


@pytest.mark.parametrize("value", [{}, 3, {"score": "1", "false_alarms": 0.1, "n": 3}, {"score": 1e999}])
def test_a_threshold_that_cannot_be_followed_is_named(value: Any) -> None:
    with pytest.raises(BundleError, match=r"preprocess.threshold"):
        tasks.tell(TASK, outputs_of([1.0]), None, {"threshold": value}, ("normal", "anomaly"))


def test_a_report_says_the_shares_with_their_intervals() -> None:
    spec = settled([float(i) for i in range(100)], [0] * 100, 0.05)
    scores, truth = [*range(90, 110)] * 2, [0] * 20 + [1] * 20
    after = outputs_of([float(s) for s in scores])
    figures = other_figures(TASK, after, after, np.array(truth, np.float32)[:, None], ("normal", "anomaly"), spec)
    table = figures["threshold"]
    assert table["false_alarms"]["share"] == pytest.approx(0.7) and table["false_alarms"]["n"] == 20
    low, high = table["false_alarms"]["ci95"]
    assert low < 0.7 < high and high - low > 0.3
    score, text = words.threshold(table)
    assert score == "95" and "of 20 normal samples" in text and "5.00 % false alarms are asked for" in text
