"""Which samples are shown as the worst: by the task's own metric, the surest of equally wrong ones first."""

from __future__ import annotations

import numpy as np

from edgeft import tasks
from edgeft.export.worst import losses, worst


def test_the_surest_of_the_wrong_classes_come_first_then_the_least_sure_of_the_right_ones() -> None:
    logits = np.array([[9, 0, 0], [1, 3, 0], [0, 0, 8], [2, 1.5, 0], [0, 5, 0]], np.float32)
    truth = np.array([0, 0, 1, 1, 1])
    task = tasks.get("classify")
    assert worst(task, {"logits": logits}, truth, 8) == [2, 1, 3, 4, 0]  # wrong by 8, 2, 0.5, right by 5, 9
    assert worst(task, {"logits": logits}, truth, 2) == [2, 1]
    assert worst(task, {"logits": logits[[0, 4]]}, truth[[0, 4]], 8) == [1, 0], "where all are right"


def test_values_are_ordered_by_their_error() -> None:
    values = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]], np.float32)
    task = tasks.get("control")
    assert worst(task, {"controls": values}, np.zeros((3, 2), np.float32), 8) == [2, 1, 0]


def test_masks_are_judged_one_by_one_where_the_metric_is_no_mean() -> None:
    truth = np.zeros((3, 4, 4), np.uint8)
    truth[:, :2] = 1
    logits = np.stack([truth == 0, truth == 1], axis=1).astype(np.float32)
    logits[1, :, :1] = logits[1, ::-1, :1]  # a row of four
    logits[2] = logits[2, ::-1]  # everything
    task, masks = tasks.get("segment"), np.empty(3, object)
    masks[:] = list(truth)
    scores = losses(task, {"logits": logits}, masks)
    assert scores[0] == -1.0 and scores[0] < scores[1] < scores[2] == 0.0
    assert worst(task, {"logits": logits}, masks, 8) == [2, 1, 0]
