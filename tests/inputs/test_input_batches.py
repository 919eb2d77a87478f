"""The loop of every pass over data: order, sizes of batches, laziness, and outputs joined."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edgeft.inputs.batches import batches, joined, outputs_of, preprocessed, row_by_row


class Numbers:
    """The numbers 0..n-1 as raw samples; `read` lists those that were read."""

    def __init__(self, count: int) -> None:
        self.count, self.read = count, list[int]()

    def __len__(self) -> int:
        return self.count

    def raw(self, i: int) -> int:
        self.read.append(i)
        return i


class Halving:
    """A task whose one input is the number over `spec["by"]`."""

    @staticmethod
    def preprocess(raw: int, spec: Mapping[str, float]) -> dict[str, np.ndarray]:
        return {"x": np.array([[raw / spec["by"]]], np.float32)}


class Doubling:
    """A session that doubles, and gives the number of rows of the call that a row was in."""

    @staticmethod
    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"y": 2 * feeds["x"], "rows": np.full(len(feeds["x"]), len(feeds["x"]))}


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (4, [4]), (9, [4, 4, 1])])
def test_batches_are_in_order_and_the_last_one_is_short(count: int, sizes: list[int]) -> None:
    parts = list(preprocessed(Halving, {"by": 2.0}, Numbers(count), size=4))
    assert [len(feeds["x"]) for _, feeds in parts] == [len(rows) for rows, _ in parts] == sizes
    assert [i for rows, _ in parts for i in rows] == list(range(count))
    assert [value for _, feeds in parts for value in feeds["x"].ravel()] == [i / 2 for i in range(count)]


def test_a_batch_is_read_when_it_is_asked_for() -> None:
    samples = Numbers(10)
    parts = preprocessed(Halving, {"by": 1.0}, samples, size=3)
    assert samples.read == []
    next(parts)
    assert samples.read == [0, 1, 2]


def test_a_batch_of_large_samples_has_fewer_of_them() -> None:
    row = np.zeros((1, 3, 600, 1000), np.float32)  # 7.2 MB
    parts = [positions for positions, _ in batches(9, lambda i: {"x": row})]
    assert [list(p) for p in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    huge = np.broadcast_to(np.float32(0), (1, 10_000, 1_000))
    assert [len(p) for p, _ in batches(2, lambda i: {"x": huge})] == [1, 1]


def test_an_error_of_one_sample_is_passed_on() -> None:
    with pytest.raises(KeyError, match="3"):
        list(batches(5, lambda i: {"x": np.array([{0: 1.0, 1: 1.0, 2: 1.0}[i]])}, size=5))


def test_outputs_of_several_sessions_are_joined_and_each_sample_is_read_once() -> None:
    samples = Numbers(70)
    feeds = preprocessed(Halving, {"by": 1.0}, samples)
    with ThreadPoolExecutor(2) as pool:
        first, second = outputs_of([Doubling, Doubling], feeds, pool.map)
    assert samples.read == list(range(70)) and first["y"].shape == (70, 1)
    assert np.array_equal(first["y"], second["y"]) and first["y"][69] == 138
    assert first["rows"].tolist() == [32] * 64 + [6] * 6
    assert outputs_of([Doubling], preprocessed(Halving, {"by": 1.0}, Numbers(0))) == [{}]


def test_row_by_row_runs_every_row_alone() -> None:
    outputs = row_by_row(Doubling, {"x": np.arange(5.0)[:, None]})
    assert outputs["y"].ravel().tolist() == [0, 2, 4, 6, 8] and outputs["rows"].tolist() == [1] * 5
    assert row_by_row(Doubling, {}) == joined([]) == {}
