from __future__ import annotations

import numpy as np
import pytest

from edgeft import tasks
from edgeft.core.metric import Metric
from edgeft.report import html
from edgeft.verify.other_figures import MOST_CLASSES, other_figures

classify = tasks.get("classify")
control = tasks.get("control")


def logits(decided: list[int], classes: int = 2) -> dict[str, np.ndarray]:
    return {"logits": 5.0 * np.eye(classes)[decided]}


def test_each_class_further_metrics_and_confusion_of_both() -> None:
    truth = np.array([0] * 8 + [1] * 2)
    found = other_figures(classify, logits(truth.tolist()), logits([0] * 9 + [1]), truth, ("healthy", "ill"), {})
    assert found["worst_class"]["label"] == "ill" and found["per_class"]["ill"]["quantized"] == 0.5
    for name in ("balanced_accuracy", "auc"):
        record = Metric(name, "fraction").as_dict()
        assert found["extra_metrics"][name] == {"float": 1.0, "quantized": 0.75, "metric_record": record}
    assert found["confusion"]["float"] == [[8, 0], [0, 2]] and found["confusion"]["quantized"] == [[8, 0], [1, 1]]
    text = html.render({**found, "gates": []}, {"name": "x"})
    assert "Further metrics" in text and "macro F1" in text and "+25.00 points" in text
    assert "were taken for which class (column)" in text and "2 → 1" in text


def test_the_worst_classes_and_the_largest_drop_are_named() -> None:
    truth = np.repeat([0, 1, 2], [10, 10, 10])
    before, after = truth.copy(), truth.copy()
    before[:4], after[:4] = 1, 1  # of the first class 4 of 10 are lost in both
    after[10:13] = 2  # of the second 3 more
    found = other_figures(
        classify, logits(before.tolist(), 3), logits(after.tolist(), 3), truth, ("ant", "bee", "cat"), {}
    )
    assert found["worst_class"] == {"label": "ant", "float": 0.6, "quantized": 0.6, "drop": 0.0, "n": 10}
    assert found["worst_class_float"] == found["worst_class"]
    assert found["largest_drop"]["label"] == "bee" and found["largest_drop"]["drop"] == pytest.approx(0.3)

    text = html.render({**found, "gates": [], "metric_record": classify.metric.as_dict()}, {"name": "x"})
    assert "Worst class: ant, 60.00 % → 60.00 %" in text and "Largest drop: bee" in text

    fewer = np.zeros(3, int)
    assert other_figures(classify, logits([0] * 3), logits([0] * 3), fewer, ("ant", "bee"), {})["worst_class"]["n"] == 3


def test_where_less_is_better_the_worst_output_has_the_largest_error() -> None:
    truth = np.zeros((30, 2), np.float32)
    values = {"y": np.tile(np.float32([0.1, 0.7]), (30, 1))}
    found = other_figures(
        control, values, {"y": values["y"] + np.float32([0.2, 0])}, truth, ("steering", "throttle"), {}
    )
    assert found["worst_class"]["label"] == found["worst_class_float"]["label"] == "throttle"
    assert found["largest_drop"]["label"] == "steering"


def test_what_a_task_does_not_have_is_left_out() -> None:
    values, truth = {"y": np.zeros((30, 1), np.float32)}, np.ones((30, 1), np.float32)
    found = other_figures(control, values, values, truth, ("steering",), {})
    assert "confusion" not in found and "rmse" in found["extra_metrics"]
    many = MOST_CLASSES + 1
    truth = np.arange(many)
    outputs = logits(truth.tolist(), many)
    assert "confusion" not in other_figures(classify, outputs, outputs, truth, [str(i) for i in range(many)], {})


def test_a_page_of_strange_tables_is_still_a_page() -> None:
    for table in (
        [],
        {"labels": ["a"]},
        {"labels": ["a", "b"], "float": [[1, 2], [3]], "quantized": [[1, 2], [3, None]]},
    ):
        text = html.render({"gates": [], "confusion": table, "extra_metrics": {"auc": {"float": None}}}, {})
        assert "Confusion" not in text and "Further" not in text
