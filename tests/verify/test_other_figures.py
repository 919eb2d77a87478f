from __future__ import annotations

import numpy as np

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
    found = other_figures(classify, logits(truth.tolist()), logits([0] * 9 + [1]), truth, ("healthy", "ill"))
    assert found["worst_class"]["label"] == "ill" and found["per_class"]["ill"]["quantized"] == 0.5
    for name in ("balanced_accuracy", "auc"):
        record = Metric(name, "fraction").as_dict()
        assert found["extra_metrics"][name] == {"float": 1.0, "quantized": 0.75, "metric_record": record}
    assert found["confusion"]["float"] == [[8, 0], [0, 2]] and found["confusion"]["quantized"] == [[8, 0], [1, 1]]
    text = html.render({**found, "gates": []}, {"name": "x"})
    assert "Further metrics" in text and "macro F1" in text and "+25.00 points" in text
    assert "seen as ill" in text and "2 → 1" in text


def test_what_a_task_does_not_have_is_left_out() -> None:
    values, truth = {"y": np.zeros((30, 1), np.float32)}, np.ones((30, 1), np.float32)
    found = other_figures(control, values, values, truth, ("steering",))
    assert "confusion" not in found and "rmse" in found["extra_metrics"]
    many = MOST_CLASSES + 1
    truth = np.arange(many)
    outputs = logits(truth.tolist(), many)
    assert "confusion" not in other_figures(classify, outputs, outputs, truth, [str(i) for i in range(many)])


def test_a_page_of_strange_tables_is_still_a_page() -> None:
    for table in (
        [],
        {"labels": ["a"]},
        {"labels": ["a", "b"], "float": [[1, 2], [3]], "quantized": [[1, 2], [3, None]]},
    ):
        text = html.render({"gates": [], "confusion": table, "extra_metrics": {"auc": {"float": None}}}, {})
        assert "Confusion" not in text and "Further" not in text
