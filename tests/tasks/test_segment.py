"""Segmentation: mIoU by hand, void left out, words, decisions."""

from __future__ import annotations

import numpy as np
import pytest

from edgeft.core.errors import DataError
from edgeft.inputs import mask
from edgeft.tasks.segment import decoding as segment


def logits(classes: list[list[int]], count: int = 3) -> np.ndarray:
    """(1, count, h, w) that decide as `classes` says."""
    return np.moveaxis(5.0 * np.eye(count, dtype=np.float32)[np.array(classes)], -1, 0)[None]


def masks(*each: list[list[int]]) -> np.ndarray:
    made = np.empty(len(each), object)
    for i, one in enumerate(each):
        made[i] = np.array(one, np.uint8)
    return made


def test_metric_by_hand_and_void_left_out() -> None:
    outputs = {"logits": logits([[0, 0], [1, 1]])}
    targets = masks([[0, 1], [1, mask.VOID]])
    # class 0: 1 of 2, class 1: 1 of 2 (the void pixel does not count); class 2 is neither there nor claimed
    assert segment.metric(outputs, targets) == pytest.approx(0.5)
    assert segment.extra_metrics(outputs, targets)["pixel_accuracy"] == pytest.approx(2 / 3)
    found = segment.per_class(outputs, targets, ["a", "b", "c"])
    assert found == {"a": {"metric": 0.5, "n": 1}, "b": {"metric": 0.5, "n": 1}}


def test_metric_is_that_of_the_statistics() -> None:
    rng = np.random.default_rng(0)
    outputs = {"logits": rng.normal(size=(3, 3, 4, 4)).astype(np.float32)}
    targets = masks(*rng.integers(0, 3, (3, 8, 8)).tolist())
    rows = segment.statistics(outputs, targets)
    assert [int(row.sum()) for row in rows] == [64, 64, 64]
    assert segment.metric_of(rows) == segment.metric(outputs, targets)
    assert segment.metric_of(rows[:1]) == segment.metric({"logits": outputs["logits"][:1]}, targets[:1])


def test_undecided_pixels_are_wrong() -> None:
    broken = np.full((1, 3, 2, 2), np.nan, np.float32)
    assert segment.metric({"logits": broken}, masks([[0, 0], [1, 1]])) == 0.0
    assert (segment.decisions({"logits": broken}) == -1).all()
    assert (segment.margins({"logits": broken}) == 0).all()


def test_enlarged_as_torch_does() -> None:
    torch = pytest.importorskip("torch", reason="compares with torch")
    coarse = np.random.default_rng(1).normal(size=(4, 5, 7)).astype(np.float32)
    fine = torch.nn.functional.interpolate(
        torch.from_numpy(coarse)[None], size=(20, 30), mode="bilinear", align_corners=False
    )[0]
    assert (mask.classes(coarse, (20, 30)) == fine.numpy().argmax(axis=0)).mean() > 0.998


def test_decisions_and_margins_of_cells() -> None:
    outputs = {"logits": logits([[0, 2], [1, 1]])}
    assert segment.decisions(outputs).tolist() == [[[0, 2], [1, 1]]]
    assert segment.margins(outputs).tolist() == [[[5.0, 5.0], [5.0, 5.0]]]
    assert segment.alike(outputs, {"logits": logits([[0, 2], [1, 0]])}).tolist() == [[[True, True], [True, False]]]


def test_told_in_the_size_of_the_picture_and_drawn() -> None:
    raw = np.zeros((4, 6, 3), np.uint8)
    told = segment.tell({"logits": logits([[0, 0], [2, 2]])}, raw, {}, ["sky", "car", "road"])
    assert told["size"] == [4, 6] and told["mask"].shape == (4, 6)
    assert told["label"] == "sky 50 %, road 50 %"
    assert segment.draw(raw, told)["image"].shape == raw.shape
    assert segment.pictures(raw, told)["overlay"].any()


def test_chance_is_the_commonest_class_everywhere() -> None:
    # 3 of 4 pixels are class 0: its IoU is 3/4, the other's 0
    assert segment.chance(masks([[0, 0], [0, 1]])) == pytest.approx(0.375)


def test_bad_targets() -> None:
    outputs = {"logits": logits([[0, 0], [1, 1]])}
    with pytest.raises(DataError, match="class number 7"):
        segment.metric(outputs, masks([[0, 7], [1, 1]]))
    with pytest.raises(DataError, match="1 outputs for 2 targets"):
        segment.metric(outputs, masks([[0, 0]], [[0, 0]]))
