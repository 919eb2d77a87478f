"""A metric's record: its unit decides how a value is written, its direction what a drop is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeft import tasks
from edgeft.core.metric import Metric, from_dict
from edgeft.core.verdict import Verdict

pytestmark = pytest.mark.board


@pytest.mark.parametrize(
    ("task", "before", "after", "shown", "drop"),
    [
        ("classify", 0.97, 0.965, ("97.00 %", "96.50 %"), "+0.50 points"),
        ("speech", 0.123, 0.135, ("12.30 %", "13.50 %"), "+1.20 points"),
        ("speech", 0.135, 0.123, ("13.50 %", "12.30 %"), "-1.20 points"),
        ("control", 0.3468, 0.3491, ("0.3468", "0.3491"), "+0.0023"),
        ("translate", 27.413, 27.1, ("27.41", "27.10"), "+0.31"),
        ("segment", 0.5, 0.5, ("50.00 %", "50.00 %"), "0.00 points"),
        ("recommend", 0.71, 0.7, ("71.00 %", "70.00 %"), "+1.00 points"),
    ],
)
def test_a_tasks_metric_is_written_in_its_unit_and_a_drop_is_worse(
    task: str, before: float, after: float, shown: tuple[str, str], drop: str
) -> None:
    metric = tasks.get(task).metric
    assert (metric.format(before), metric.format(after)) == shown
    assert metric.format_drop(metric.drop(before, after)) == drop


@pytest.mark.parametrize("name", tasks.BUILTIN)
def test_every_tasks_records_travel_through_json(name: str) -> None:
    task = tasks.get(name)
    for metric in (task.metric, *task.further_metrics):
        assert from_dict(json.loads(json.dumps(metric.as_dict()))) == metric
        assert tasks.metric_named(metric.name) == metric
    assert task.metric.max_drop > 0 or task.metric.max_drop_relative > 0


@pytest.mark.parametrize("table", [None, [], "accuracy", {}, {"name": 3}, {"name": ""}])
def test_what_is_no_record_is_none(table: Any) -> None:
    assert from_dict(table) is None


def test_a_record_of_a_later_version_is_read_and_strange_values_are_not_taken() -> None:
    table = {"name": "return", "unit": 7, "higher_is_better": "no", "max_drop": True, "more": [1]}
    assert from_dict(table) == Metric("return")
    assert from_dict({"name": "x", "max_drop": 1}) == Metric("x", max_drop=1)


def test_a_gates_verdict_says_its_unit() -> None:
    assert Verdict("latency", "pass", "", metric="speedup").as_dict()["unit"] == "ratio"
    assert Verdict("accuracy", "pass", "", metric="mae", unit="cm").as_dict()["unit"] == "cm"
