"""Boxes of a set: which outputs are one, log-odds of a softmax, and that nothing is suppressed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.core.errors import BundleError
from edgeft.metrics import box_sets, detections
from edgeft.metrics.boxes import PYRAMID


def answer(*, softmax: bool, samples: int = 1, queries: int = 3, classes: int = 2) -> dict[str, np.ndarray]:
    """A set that sees nothing."""
    logits = np.full((samples, queries, classes), -6.0, np.float32)
    boxes = np.full((samples, queries, 4), 0.5, np.float32)
    arrays = [logits, np.full((samples, queries, 1), 6.0, np.float32), boxes] if softmax else [logits, boxes]
    return {f"output_{i}": array for i, array in enumerate(arrays)}


@pytest.mark.parametrize("softmax", [True, False])
def test_the_form_follows_from_the_shapes(softmax: bool) -> None:
    form = detections.form_of(answer(softmax=softmax, samples=4))
    assert form is box_sets.SET and form.counts(answer(softmax=softmax, samples=4)) == (4, 2)
    cells = {"output_0": np.zeros((1, 2, 4, 4)), "output_1": np.zeros((1, 4, 4, 4))}
    assert detections.form_of(cells) is PYRAMID


@pytest.mark.parametrize("change", ["none", "boxes", "queries", "nothing", "alone"])
def test_other_outputs_are_refused(change: str) -> None:
    outputs = answer(softmax=True)
    if change == "none":
        outputs = {}
    if change == "boxes":
        outputs["output_2"] = outputs["output_2"][..., :3]
    if change == "queries":
        outputs["output_2"] = outputs["output_2"][:, :2]
    if change == "nothing":
        outputs["output_1"] = np.zeros((1, 3, 2))
    if change == "alone":
        outputs = {"output_0": outputs["output_0"]}
    with pytest.raises(BundleError, match="a set: class logits"):
        detections.form_of(outputs)


def test_every_query_is_an_object_of_its_own() -> None:
    outputs = answer(softmax=False)
    outputs["output_0"][0, :, 0] = 1.0, 2.0, -6.0
    outputs["output_1"][0] = ((0.5, 0.5, 0.4, 0.2), (0.5, 0.5, 0.4, 0.2), (0.5, 0.5, 0.9, 0.9))
    (rows,) = detections.detections(outputs, 0.3)
    assert rows.shape == (2, 6), "boxes that overlap wholly both stay"
    np.testing.assert_allclose(rows[0], [0.3, 0.4, 0.7, 0.6, 1 / (1 + np.exp(-2.0)), 0], atol=1e-6)
    (one,) = detections.detections(outputs, 0.3, most=1)
    assert one.tolist() == rows[:1].tolist()


def test_what_is_not_finite_is_no_box_and_boxes_end_at_the_edges() -> None:
    outputs = answer(softmax=True)
    outputs["output_0"][0, :, 1] = 9.0, np.nan, 9.0
    outputs["output_2"][0, 0] = (0.0, 0.5, 0.4, 0.4)
    outputs["output_2"][0, 2, 3] = np.inf
    (rows,) = detections.detections(outputs, 0.3)
    np.testing.assert_allclose(rows[:, :4], [[0, 0.3, 0.2, 0.7]], atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 3.0, 60.0, 2000.0]))
def test_log_odds_are_those_of_the_softmax(seed: int, scale: float) -> None:
    logits = np.random.default_rng(seed).normal(0, scale, (5, 4))
    odds = box_sets.log_odds(logits[:, :3], logits[:, 3:])
    for k in range(3):
        others = np.delete(logits, k, axis=1)
        expected = logits[:, k] - np.logaddexp.reduce(others, axis=1)
        near = np.abs(expected) < 25  # farther out a probability is 0 or 1 to twelve digits
        np.testing.assert_allclose(odds[near, k], expected[near], rtol=1e-3, atol=1e-4)
        assert (np.sign(odds[~near, k]) == np.sign(expected[~near])).all()


def test_units_of_a_softmax_count_its_rivals() -> None:
    steps = {"output_0": 0.1, "output_1": 0.2, "output_2": 0.004}
    assert box_sets.units(answer(softmax=True), steps).tolist() == [0.4] * 3
    assert box_sets.units(answer(softmax=False), {"output_0": 0.1, "output_1": 0.004}).tolist() == [0.1] * 3
