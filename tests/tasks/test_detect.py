"""The metric against cases with known answers, and what a detector says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="average precision is pycocotools' own")

from edgeft.core.errors import BundleError, DataError
from edgeft.models.built import image_spec
from edgeft.tasks import tell
from edgeft.tasks.detect import decoding as detect

LABELS = ("disc", "bar")
SIZE = (64, 96)


def target(rows: list[tuple[float, ...]], size: tuple[int, int] = SIZE, crowd: tuple[int, ...] = ()) -> dict[str, Any]:
    boxes = np.array([r[1:] for r in rows], np.float32).reshape(-1, 4)
    return {
        "boxes": boxes,
        "classes": np.array([r[0] for r in rows], np.int64),
        "crowd": np.array([i in crowd for i in range(len(rows))], bool),
        "size": np.array(size, np.int64),
    }


def targets_of(*each: dict[str, Any]) -> np.ndarray:
    made = np.empty(len(each), object)
    made[:] = each
    return made


def outputs_of(pictures: list[list[tuple[float, ...]]]) -> dict[str, np.ndarray]:
    """Raw outputs whose decoding is these rows (class, logit, x1, y1, x2, y2), each in a cell of the finest level."""
    n, (h, w) = len(pictures), (SIZE[0] // 8, SIZE[1] // 8)
    made: dict[str, np.ndarray] = {}
    for k in range(3):
        made[f"output_{2 * k}"] = np.full((n, 2, h >> k, w >> k), -12.0, np.float32)
        made[f"output_{2 * k + 1}"] = np.zeros((n, 4, h >> k, w >> k), np.float32)
    for i, rows in enumerate(pictures):
        for kind, logit, x1, y1, x2, y2 in rows:
            column, row = int((x1 + x2) / 16), int((y1 + y2) / 16)
            assert made["output_0"][i, :, row, column].max() < -11, "two boxes in one cell"
            made["output_0"][i, int(kind), row, column] = logit
            made["output_1"][i, :, row, column] = (
                (x1 + x2) / 16 - column - 0.5,
                (y1 + y2) / 16 - row - 0.5,
                np.log((x2 - x1) / 32),
                np.log((y2 - y1) / 32),
            )
    return made


TRUE = targets_of(target([(0, 4, 4, 24, 24), (1, 40, 10, 60, 50)]), target([(0, 50, 20, 90, 60)]), target([]))
PERFECT = [[(0, 3.0, 4, 4, 24, 24), (1, 2.0, 40, 10, 60, 50)], [(0, 4.0, 50, 20, 90, 60)], []]


def test_a_perfect_detector_has_an_ap_of_one() -> None:
    outputs = outputs_of(PERFECT)
    assert detect.metric(outputs, TRUE) == pytest.approx(1)
    assert detect.extra_metrics(outputs, TRUE) == pytest.approx({"ap50_95": 1, "ap75": 1})
    assert detect.per_class(outputs, TRUE, LABELS) == {
        "disc": {"metric": pytest.approx(1), "n": 2},
        "bar": {"metric": pytest.approx(1), "n": 1},
    }


def test_one_that_sees_nothing_has_none() -> None:
    assert detect.metric(outputs_of([[], [], []]), TRUE) == 0


def test_a_false_box_above_the_true_ones_costs_what_the_curve_says() -> None:
    """Of two discs, ranked false, true, true: precision 1/2 and 2/3, so the interpolated AP is 2/3; bars have 1."""
    wrong = [*PERFECT[:2], [(0, 6.0, 8, 8, 40, 40)]]
    assert detect.metric(outputs_of(wrong), TRUE) == pytest.approx((2 / 3 + 1) / 2, abs=2e-3)


def test_a_box_that_is_a_little_off_counts_at_small_overlaps_only() -> None:
    shifted = [PERFECT[0], [(0, 4.0, 50, 20, 82, 60)], []]  # an overlap of 0.8
    assert detect.metric(outputs_of(shifted), TRUE) == pytest.approx(1)
    strict = detect.extra_metrics(outputs_of(shifted), TRUE)["ap50_95"]
    assert 0.85 < strict < 0.95


def test_crowds_and_classes_without_boxes_count_for_nothing() -> None:
    crowd = targets_of(target([(0, 4, 4, 24, 24), (0, 40, 4, 90, 60)], crowd=(1,)))
    found = [[(0, 1.0, 4, 4, 24, 24), (0, 3.0, 44, 20, 68, 52)]]  # the better one is in the crowd
    assert detect.metric(outputs_of(found), crowd) == pytest.approx(1)
    assert detect.describe(crowd[0], LABELS) == "1 disc"
    assert set(detect.per_class(outputs_of(found), crowd, LABELS)) == {"disc"}


def test_raw_pixels_of_another_size_are_brought_to_the_input() -> None:
    double = targets_of(*(target([(r[0], *(2 * v for v in r[1:])) for r in rows], (128, 192)) for rows in ROWS))
    assert detect.metric(outputs_of(PERFECT), double) == pytest.approx(1)


ROWS = [[(0, 4, 4, 24, 24), (1, 40, 10, 60, 50)], [(0, 50, 20, 90, 60)], []]


def test_statistics_give_the_metric_of_any_selection() -> None:
    wrong = outputs_of([*PERFECT[:2], [(0, 6.0, 8, 8, 40, 40)]])
    rows = detect.statistics(wrong, TRUE)
    for at in ([0, 1, 2], [2, 2, 1], [0], [2]):
        part = {k: v[at] for k, v in wrong.items()}
        assert detect.metric_of([rows[i] for i in at]) == pytest.approx(detect.metric(part, TRUE[at]))
    assert detect.metric_of([rows[2]]) == 0  # a picture without boxes says nothing


def test_no_samples_and_another_number_of_them_are_refused() -> None:
    outputs = outputs_of(PERFECT)
    with pytest.raises(DataError, match="no samples"):
        detect.metric({k: v[:0] for k, v in outputs.items()}, TRUE[:0])
    with pytest.raises(DataError, match="3 outputs for 2 targets"):
        detect.metric(outputs, TRUE[:2])


def test_it_tells_boxes_in_the_pictures_own_pixels() -> None:
    spec = {**image_spec(SIZE), "kind": "letterbox", "fill": 114}
    outputs = {k: v[:1] for k, v in outputs_of(PERFECT).items()}
    said = tell(detect, outputs, np.zeros((128, 192, 3), np.uint8), spec, LABELS)
    assert said["label"] == "1 disc, 1 bar"
    assert said["boxes"][0]["box"] == pytest.approx([8, 8, 48, 48], abs=0.1)
    assert said["found"].startswith("disc 95 % at 8,8 to 48,48; bar 88 %")
    (plain,) = detect.decode(outputs, LABELS)
    assert plain["boxes"][0]["box"] == pytest.approx([4, 4, 24, 24], abs=0.1)
    with pytest.raises(BundleError, match="1 labels for 2 classes"):
        detect.decode(outputs, ("disc",))


def test_the_report_frames_found_boxes_in_colour_and_true_ones_dashed() -> None:
    raw = np.zeros((64, 96, 3), np.uint8)
    drawn = detect.draw_beside(raw, {"boxes": [{"class": 0, "box": [4, 4, 24, 24]}]}, TRUE[1])["image"]
    assert drawn[4, 10].tolist() == [255, 215, 0] and drawn[12, 12].max() == 0
    edge = (drawn[20, 50:91] == 255).all(axis=1)
    assert edge.any() and not edge.all()
    large = detect.draw(np.zeros((1000, 2000), np.uint8), {"boxes": [{"class": 0, "box": [0, 0, 2000, 1000]}]})
    assert large["image"].shape == (200, 400, 3)
    assert raw.max() == 0


def test_alike_and_margins() -> None:
    one = outputs_of(PERFECT)
    near = {k: v.copy() for k, v in one.items()}
    near["output_0"] = near["output_0"] + 0.01
    assert detect.alike(one, near).tolist() == [True, True, True]
    gone = outputs_of([PERFECT[0][:1], PERFECT[1], []])
    moved = outputs_of([PERFECT[0], [(0, 4.0, 40, 20, 80, 60)], []])
    assert detect.alike(one, gone).tolist() == [False, True, True]
    assert detect.alike(one, moved).tolist() == [True, False, True]
    floor = np.log(detect.SHOWN / (1 - detect.SHOWN))
    close = outputs_of(
        [[(0, floor + 0.5, 4, 4, 24, 24), (1, floor - 0.2, 40, 10, 60, 50)], [(0, 9.0, 8, 8, 40, 40)], []]
    )
    np.testing.assert_allclose(detect.margins(close), [0.2, 3.0, 3.0], atol=1e-3)
    # a tie between neighbours of which only one is shown, and whose boxes are not the same
    tie = outputs_of([[(0, 2.0, 4, 4, 36, 36), (0, 1.9, 9, 4, 41, 36)]])
    assert len(detect.decode(tie, LABELS)[0]["boxes"]) == 1
    np.testing.assert_allclose(detect.margins(tie), [0.1], atol=1e-3)
    # and one whose overlap is about the limit of suppression: it may be shown or not
    np.testing.assert_array_equal(
        detect.margins(outputs_of([[(0, 2.0, 4, 4, 36, 36), (0, 0.0, 12, 4, 44, 36)]])), [0.0]
    )
    assert detect.decisions(one).tolist() == [[1, 1], [1, 0], [0, 0]]


def test_labels_are_joined_by_name() -> None:
    joined = detect.join(TRUE, LABELS, ("bar", "cup", "disc"), "here")
    assert joined[0]["classes"].tolist() == [2, 0] and TRUE[0]["classes"].tolist() == [0, 1]
    with pytest.raises(DataError, match="no class 'bar'"):
        detect.join(TRUE, LABELS, ("disc",), "here")
    assert detect.join(TRUE[1:], LABELS, ("disc",), "here")[0]["classes"].tolist() == [0]
