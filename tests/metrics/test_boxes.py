"""Decoding and suppression, against boxes that were put in by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.core.errors import BundleError
from edgeft.metrics import boxes, detections


def nothing(n: int = 1, classes: int = 2, h: int = 4, w: int = 8) -> dict[str, np.ndarray]:
    """Outputs of three levels that see nothing (h, w of the finest); names in an order of their own."""
    made = {}
    for k in range(3):
        shape = (n, 1, h >> k, w >> k)
        made[f"output_{2 * k}"] = np.full((n, classes, *shape[2:]), -9.0, np.float32)
        made[f"output_{2 * k + 1}"] = np.zeros((n, 4, *shape[2:]), np.float32)
    return dict(reversed(made.items()))


def put(outputs: dict[str, np.ndarray], i: int, level: int, row: int, column: int, kind: int, logit: float) -> None:
    outputs[f"output_{2 * level}"][i, kind, row, column] = logit


def test_a_cell_says_where_its_box_is() -> None:
    outputs = nothing()
    put(outputs, 0, 1, 1, 2, 1, 2.0)
    outputs["output_3"][0, :, 1, 2] = (0.25, -0.5, np.log(0.5), np.log(0.25))
    (seen,) = detections.detections(outputs, 0.3)
    # stride 16: centre (2.75, 1.0) * 16 = (44, 16), sides 4 * 16 * (0.5, 0.25) = (32, 16)
    np.testing.assert_allclose(seen, [[28, 8, 60, 24, 1 / (1 + np.exp(-2)), 1]], atol=1e-4)


def distributed(outputs: dict[str, np.ndarray], bins: int = 4) -> dict[str, np.ndarray]:
    """The same outputs with boxes as distributions, all of them of distance 0."""
    made = dict(outputs)
    for name in ("output_1", "output_3", "output_5"):
        n, _, h, w = outputs[name].shape
        logits = np.full((n, 4, bins, h, w), -30.0, np.float32)
        logits[:, :, 0] = 30.0
        made[name] = logits.reshape(n, 4 * bins, h, w)
    return made


def test_a_cell_says_how_far_its_sides_are() -> None:
    outputs = distributed(nothing())
    put(outputs, 0, 1, 1, 2, 1, 2.0)
    view = outputs["output_3"].reshape(1, 4, 4, 2, 4)
    for side, shares in enumerate(([1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 1, 1, 2])):
        view[0, side, :, 1, 2] = np.log(np.maximum(shares, 1e-12))
    (seen,) = detections.detections(outputs, 0.3)
    # stride 16, centre (2.5, 1.5): left 0, top 0.5, right 2, bottom (1 + 2 + 3 + 3) / 4 strides; cut off at 64, 32
    np.testing.assert_allclose(seen, [[40, 16, 64, 32, 1 / (1 + np.exp(-2)), 1]], atol=1e-3)
    levels = boxes.levels(outputs)
    _, corners = boxes.cells(levels, 0)
    np.testing.assert_allclose(corners[4 * 8 + 1 * 4 + 2], [40, 16, 72, 60], atol=1e-3)


def test_names_with_two_digits_keep_their_order() -> None:
    outputs = nothing(h=32, w=32)
    outputs = {f"output_{int(k[-1]) + 8}": v for k, v in outputs.items()}
    assert [level.stride for level in boxes.levels(outputs)] == [8, 16, 32]
    assert boxes.input_size(boxes.levels(outputs)) == (256, 256)


def test_one_object_is_one_box_and_classes_do_not_suppress_each_other() -> None:
    outputs = nothing(n=2)
    for column, logit in ((2, 1.0), (3, 3.0), (4, 2.0)):  # neighbours whose boxes of 32 px overlap
        put(outputs, 1, 0, 1, column, 0, logit)
    outputs["output_1"][1, 0, 1, 2:5] = (1.0, 0.0, -1.0)  # all three mean the same place
    put(outputs, 1, 1, 0, 1, 1, 0.5)
    none, some = detections.detections(outputs, 0.3)
    assert none.shape == (0, 6)
    assert some[:, 5].tolist() == [0, 1] and some[0, 4] == pytest.approx(1 / (1 + np.exp(-3)))


def test_what_is_not_finite_is_no_box() -> None:
    outputs = nothing()
    put(outputs, 0, 0, 0, 0, 0, 5.0)
    put(outputs, 0, 0, 2, 2, 0, np.nan)
    outputs["output_1"][0, 2, 0, 0] = np.nan
    assert len(detections.detections(outputs, 0.3)[0]) == 0
    outputs["output_1"][0, 2, 0, 0] = 1e6  # a side beyond any picture is cut off, without an overflow
    (seen,) = detections.detections(outputs, 0.3)
    assert np.isfinite(seen).all() and seen[0, 2] <= 64


@pytest.mark.parametrize("change", ["odd", "channels", "bins", "levels", "none"])
def test_other_outputs_are_refused(change: str) -> None:
    outputs = nothing()
    if change == "odd":
        del outputs["output_5"]
    if change == "channels":
        outputs["output_1"] = outputs["output_1"][:, :3]
    if change == "bins":
        outputs = {**distributed(outputs), "output_5": outputs["output_5"]}
    if change == "levels":
        outputs = {f"output_{i}": outputs[f"output_{(i + 2) % 6}"] for i in range(6)}
    with pytest.raises(BundleError, match="class logits"):
        boxes.levels({} if change == "none" else outputs)


@given(st.integers(0, 2**32 - 1))
def test_suppression_keeps_the_best_and_nothing_that_overlaps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (30, 2))
    found, kinds = np.concatenate([corner, corner + rng.uniform(5, 40, (30, 2))], axis=1), rng.integers(0, 2, 30)
    kept = boxes.suppress(found, kinds, 0.5)
    assert kept[0] == 0
    for kind in (0, 1):
        mine = kept[kinds[kept] == kind]
        over = boxes.overlaps(found[mine], found[mine]) - np.eye(len(mine))
        assert (over <= 0.5 + 1e-9).all()
        gone = np.setdiff1d(np.flatnonzero(kinds == kind), mine)
        for i in gone:
            better = mine[mine < i]
            assert boxes.overlaps(found[i : i + 1], found[better]).max() > 0.5


def test_overlaps_by_hand() -> None:
    one = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], float)
    other = np.array([[5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10]], float)
    np.testing.assert_allclose(boxes.overlaps(one, other), [[1 / 3, 0, 1], [0, 0, 0]])
