"""Letterboxed pictures: proportions, the border, and boxes that go there and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.config import recipe
from edgeft.core.errors import BundleError, DataError, RecipeError
from edgeft.inputs import letterbox
from edgeft.models.built import image_spec

SPEC: dict[str, Any] = {**image_spec((64, 96)), "kind": "letterbox", "fill": 114}


def test_the_border_is_plain_and_the_picture_keeps_its_proportions() -> None:
    raw = np.full((50, 100, 3), 200, np.uint8)
    made = letterbox.fitted(raw, SPEC)
    assert made.shape == (64, 96, 3)
    assert (made[:8] == 114).all() and (made[56:] == 114).all() and (made[8:56] == 200).all()


def test_a_picture_of_the_right_size_is_only_normalized() -> None:
    raw = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    expected = (raw.astype(np.float32) / np.float32(255) - np.float32(SPEC["mean"])) / np.float32(SPEC["std"])
    np.testing.assert_array_equal(letterbox.preprocess(raw, SPEC)["x"][0], expected.transpose(2, 0, 1))
    last = letterbox.preprocess(raw, {**SPEC, "layout": "NHWC"})["x"]
    np.testing.assert_array_equal(last[0], expected)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2**32 - 1))
def test_boxes_go_there_and_back(height: int, width: int, seed: int) -> None:
    rows, columns, top, left = letterbox.place(height, width, (64, 96))
    assert 1 <= rows <= 64 and 1 <= columns <= 96 and (rows == 64 or columns == 96) and top >= 0 and left >= 0
    low = np.random.default_rng(seed).uniform(0, 0.9, (5, 2)) * (width, height)
    boxes = np.concatenate([low, low + 0.1 * np.array([width, height])], axis=1)
    there = letterbox.to_input(boxes, (height, width), (64, 96))
    assert (there >= -1e-3).all() and (there[:, [1, 3]] <= 64 + 1e-3).all()
    back = letterbox.to_raw(there, height, width, (64, 96))
    np.testing.assert_allclose(back, boxes, atol=1e-4 * max(height, width) + 1e-3)


@pytest.mark.parametrize(("key", "value"), [("kind", "image"), ("fill", 300), ("fill", None), ("size", [64])])
def test_a_wrong_table_is_named(key: str, value: object) -> None:
    with pytest.raises(BundleError) as caught:
        letterbox.check({**SPEC, key: value})
    assert caught.value.where == f"preprocess.{key}"


def test_wrong_pixels_are_refused() -> None:
    with pytest.raises(DataError):
        letterbox.preprocess(np.zeros((4, 4), np.float32), SPEC)


def test_sides_must_be_multiples_of_the_coarsest_stride() -> None:
    with pytest.raises(RecipeError, match="multiple of 32") as caught:
        letterbox.configure(recipe.Data(size=100), image_spec((320, 320)), {}, print)
    assert caught.value.where == "data.size"
    spec = letterbox.configure(recipe.Data(size=128), image_spec((320, 320)), {}, print)
    assert letterbox.check(spec)[0].size == (128, 128)
