"""Windows of pictures: every pixel is decided once, and by the window in which it lies farthest from the border."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from edgeft import tasks
from edgeft.config import recipe
from edgeft.core.errors import BundleError
from edgeft.data import Dataset, Split, fingerprint, windowed, windowed_data
from edgeft.data.windowed import MOST, pictures_of
from edgeft.inputs import mask, windows
from edgeft.tasks.segment import decoding

SPEC: dict[str, Any] = {
    "kind": "windows", "overlap": 0.25, "size": [16, 24], "channels": 3, "resize": "bilinear", "mean": [0.5] * 3,
    "std": [0.25] * 3, "scale": 255.0, "layout": "NCHW", "input": "x",
}  # fmt: skip
SIDES = [(16, 24), (17, 25), (40, 24), (5, 7), (16, 100), (61, 53), (200, 30)]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize(("height", "width"), SIDES)
def test_every_pixel_is_decided_by_one_window_that_holds_it(height: int, width: int, overlap: float) -> None:
    count = np.zeros((height, width), int)
    for window in windows.places(height, width, (16, 24), overlap):
        count[slice(*window.rows), slice(*window.columns)] += 1
        assert window.top <= window.rows[0] < window.rows[1] <= window.top + 16
        assert window.left <= window.columns[0] < window.columns[1] <= window.left + 24
        assert height < 16 or window.top + 16 <= height
    assert (count == 1).all()


def test_inner_borders_keep_half_of_the_overlap_away_from_both_windows() -> None:
    first, second, *_ = windows.places(16, 60, (16, 24), 0.5)
    assert second.left < 24
    assert 24 - first.columns[1] == pytest.approx(second.columns[0] - second.left, abs=1)


def test_a_smaller_picture_repeats_its_border() -> None:
    raw = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    (window,) = windows.of(5, 7, SPEC)
    piece = windows.cut(raw, window, (16, 24))
    assert piece.shape == (16, 24, 3) and (piece[:5, :7] == raw).all()
    assert (piece[5:, :7] == raw[-1:]).all() and (piece[:5, 7:] == raw[:, -1:]).all()


def drawn(count: int = 4, seed: int = 0, classes: int = 3) -> Split:
    rng = np.random.default_rng(seed)
    raws = [rng.integers(0, 256, (*SIDES[i % len(SIDES)], 3), np.uint8) for i in range(count)]
    targets = np.empty(count, object)
    for i, raw in enumerate(raws):
        targets[i] = rng.choice([*range(classes), mask.VOID], raw.shape[:2]).astype(np.uint8)

    class Pool:
        def __len__(self) -> int:
            return count

        def raw(self, i: int) -> np.ndarray:
            return raws[i]

        def source(self, i: int) -> str:
            return f"picture {i}"

    return Split("test", Pool(), np.arange(count), targets)


def test_counts_over_windows_are_those_of_joined_pictures() -> None:
    whole, task = drawn(7), tasks.get("segment")
    split = windowed(whole, task, SPEC)
    assert len(split) > len(whole)
    logits = np.random.default_rng(3).normal(size=(len(split), 3, 8, 12)).astype(np.float32)
    by_windows = np.sum(decoding.statistics({"y": logits}, split.targets), axis=0)

    joined, at = np.zeros((3, 4), np.int64), 0
    for raw, truth in whole:
        count = len(decoding.preprocess(raw, SPEC)["x"])
        seen = decoding.tell({"y": logits[at : at + count]}, raw, SPEC, ("a", "b", "c"))["mask"]
        at += count
        assert seen.shape == raw.shape[:2]
        for k in range(3):
            joined[k] += np.bincount(seen[truth == k], minlength=4)
    assert at == len(split) and (by_windows == joined).all()


def test_windows_of_a_split_are_the_rows_of_its_pictures() -> None:
    whole, task = drawn(5), tasks.get("segment")
    split = windowed(whole, task, SPEC)
    rows = np.concatenate([decoding.preprocess(raw, SPEC)["x"] for raw, _ in whole])
    again = np.concatenate([decoding.preprocess(split.raw(i), SPEC)["x"] for i in range(len(split))])
    assert rows.tobytes() == again.tobytes()
    assert split.source(1).startswith("picture 1 from row ") and split.groups[1] == "picture 1"


def test_a_split_of_whole_pictures_stays_as_it_is_and_the_fingerprint_too() -> None:
    whole, task = drawn(3), tasks.get("segment")
    assert windowed(whole, task, {**windows.whole(SPEC)}) is whole
    data = Dataset("drawn", ("a", "b", "c"), {"test": whole})
    seen = windowed_data(data, task, SPEC)
    assert fingerprint(seen) == fingerprint(data) and len(seen.split("test")) > 3
    assert seen.notes == [f"test: 3 pictures are seen in {len(seen.split('test'))} windows"]


def test_a_judged_split_has_an_even_part_of_many_windows_and_says_so() -> None:
    whole, notes = drawn(140), []  # type: ignore[var-annotated]
    many = windowed(dataclasses.replace(whole, name="train"), tasks.get("segment"), SPEC)
    judged = windowed(whole, tasks.get("segment"), SPEC, notes)
    assert len(many) > MOST == len(judged) and f"of which {MOST}, spread evenly, are judged" in notes[0]
    pictures, sides = pictures_of(many.subset([0, 1, 2]))  # type: ignore[misc]
    assert len(pictures) == len(sides) == len({many.groups[i] for i in (0, 1, 2)})


def configured(
    pixels: tuple[int, int] | None, stated: bool = False, **settings: Any
) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    facts = {"picture_size": pixels} if pixels else {}
    defaults = {**windows.whole(SPEC), "size_stated": stated}
    return decoding.configure(recipe.Data(**settings), defaults, facts, said.append), said


def test_large_pictures_are_seen_in_windows_unless_a_size_is_stated() -> None:
    spec, said = configured((768, 1024))
    assert spec["kind"] == "windows" and spec["overlap"] == 0.25 and "a picture of 768x1024" in said[0]
    for pixels, settings in (((480, 360), {}), ((768, 1024), {"stated": True}), ((768, 1024), {"windows": "no"})):
        spec, said = configured(pixels, **settings)  # type: ignore[arg-type]
        assert spec["kind"] == "image" and "overlap" not in spec and not said
    spec, said = configured((3000, 4000))
    assert spec["kind"] == "image" and "are shrunk to 16x24" in said[0]
    spec, said = configured((3000, 4000), windows="yes", overlap=0.5)
    assert spec["kind"] == "windows" and spec["overlap"] == 0.5


@pytest.mark.parametrize("overlap", [None, "x", 0.9, float("nan"), True])
def test_a_wrong_overlap_in_a_manifest_is_named(overlap: Any) -> None:
    with pytest.raises(BundleError, match=r"preprocess.overlap"):
        windows.check({**SPEC, "overlap": overlap})
