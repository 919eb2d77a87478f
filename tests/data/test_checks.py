from __future__ import annotations

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from edgeft import data
from edgeft.core.errors import DataError, UsageError
from edgeft.data import checks, similar
from edgeft.data.formats.npz import Rows
from edgeft.data.samples import Dataset, Split, stratified
from edgeft.data.similar import alike, dhash


def pictures(n: int, seed: int, size: int = 32) -> np.ndarray:
    """Smooth random pictures uint8 (n, size, size, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3)).astype(np.float32)
    return np.kron(coarse, np.ones((1, size // 4, size // 4, 1), np.float32)).astype(np.uint8)


def split(name: str, images: np.ndarray, targets: np.ndarray | None = None) -> Split:
    n = len(images)
    targets = np.arange(n) % 2 if targets is None else targets
    return Split(name, Rows(name, {name: images}), np.arange(n), targets.astype(np.int64))


def dataset(**splits: Split) -> Dataset:
    return Dataset("test", ("a", "b"), splits)


def test_clean_data_has_nothing_to_report() -> None:
    clean = dataset(
        train=split("train", pictures(20, 0)), val=split("val", pictures(8, 1)), test=split("test", pictures(8, 2))
    )
    assert data.check(clean) == []


def test_imbalance_is_reported() -> None:
    few = np.array([0] * 18 + [1] * 2)
    lines = data.check(dataset(train=split("train", pictures(20, 0), few), test=split("test", pictures(8, 2))))
    assert len(lines) == 1 and "train: classes are unbalanced, a has 18" in lines[0]


def test_exact_and_near_duplicates_are_told_apart() -> None:
    train, test = pictures(20, 0), pictures(8, 2)
    test[3] = train[5]
    test[6] = np.clip(train[7].astype(np.int64) + np.random.default_rng(0).integers(-4, 5, train[7].shape), 0, 255)
    lines = data.check(dataset(train=split("train", train), test=split("test", test)))
    assert len(lines) == 2
    assert lines[0].startswith("leak: 1 of 8 test") and "test[test][3]" in lines[0] and "train[train][5]" in lines[0]
    assert (
        lines[1].startswith("possible leak: 1 of 8") and "test[test][6]" in lines[1] and "train[train][7]" in lines[1]
    )


def test_large_data_is_compared_in_part_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "FULL_LIMIT", 10)
    lines = data.check(dataset(train=split("train", pictures(20, 0)), test=split("test", pictures(8, 2))))
    assert len(lines) == 1 and "of 28 samples only" in lines[0]


def test_hash_survives_another_size_and_brightness() -> None:
    picture = pictures(1, 3)[0]
    larger = np.kron(picture, np.ones((2, 2, 1), np.uint8))
    darker = (picture * 0.7).astype(np.uint8)
    assert alike(picture, larger) and alike(picture, darker) and not alike(picture, pictures(1, 4)[0])
    assert np.unpackbits(dhash(picture) ^ dhash(larger)).sum() <= 5
    assert np.unpackbits(dhash(picture) ^ dhash(pictures(1, 4)[0])).sum() > 10
    assert not alike(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8))  # blank says nothing


@pytest.mark.parametrize("choose", ["random", "stratified", "first"])
def test_calibration_is_reproducible_and_bounded(choose: str) -> None:
    train = split("train", pictures(30, 0), np.array([0] * 26 + [1] * 4))
    first = data.calibration_indices(train, 8, choose, seed=1)
    np.testing.assert_array_equal(first, data.calibration_indices(train, 8, choose, seed=1))
    assert len(set(first.tolist())) == 8 and (np.diff(first) > 0).all()
    assert data.calibration_indices(train, 99, choose).tolist() == list(range(30))
    if choose == "stratified":
        assert np.bincount(train.targets[first]).tolist() == [4, 4]
    if choose == "first":
        assert first.tolist() == list(range(8))


def test_calibration_errors_and_avoided_samples() -> None:
    images = pictures(10, 0)
    train, test = split("train", images), split("test", images[:4].copy())
    with pytest.raises(DataError, match="empty"):
        data.calibration_indices(train, 0)
    with pytest.raises(DataError, match="empty"):
        data.calibration_indices(train.subset([]), 5)
    with pytest.raises(DataError, match="empty"):
        data.calibration_indices(train.subset([0, 1]), 5, avoid=test)
    with pytest.raises(UsageError, match="did you mean 'random'"):
        data.calibration_indices(train, 5, "randm")
    free = data.calibration_indices(train, 10, avoid=test)
    assert free.tolist() == [4, 5, 6, 7, 8, 9]
    data.require_disjoint(train, free, test)
    with pytest.raises(DataError, match=r"1 test sample.*test\[test\]\[2\]"):
        data.require_disjoint(train, [2, 5], test)


def test_fingerprint_sees_labels_targets_pixels_and_order() -> None:
    images = pictures(8, 0)
    base = data.fingerprint(dataset(train=split("train", images)))
    assert base == data.fingerprint(dataset(train=split("train", images.copy())))
    changed = images.copy()
    changed[0, 0, 0, 0] ^= 1
    targets = np.arange(8) % 2
    targets[0] = 1
    others = [
        dataset(train=split("train", changed)),
        dataset(train=split("train", images, targets)),
        dataset(train=split("train", images[::-1])),
        dataset(test=split("test", images)),
        Dataset("test", ("a", "c"), {"train": split("train", images)}),
    ]
    assert len({base, *map(data.fingerprint, others)}) == 6


@draws(100)
@given(
    counts=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    shares=st.tuples(*[st.floats(0.01, 1)] * 3),
    seed=st.integers(0, 9),
)
def test_stratified_parts_cover_everything_once(counts: list[int], shares: tuple[float, ...], seed: int) -> None:
    targets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    fractions = [share / sum(shares) for share in shares]
    parts = stratified(targets, fractions, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(targets)))
    assert all((targets[parts[0]] == number).any() for number in range(len(counts))), "train has one of every class"
    for part, fraction in zip(parts, fractions):
        found = np.bincount(targets[part], minlength=len(counts))
        assert (found >= (np.array(counts) >= 3)).all(), "each part has a sample of every class that has so many"
        assert (np.abs(found - fraction * np.array(counts)) <= 2 + (fraction * np.array(counts) < 1)).all()


def test_a_look_that_was_cut_short_is_told() -> None:
    images = np.repeat(pictures(1, 0), 5, axis=0)
    both = split("train", images), split("test", images)
    pairs, looked = similar.near_duplicates(*both, (similar.hashes(both[0]), similar.hashes(both[1])), limit=3)
    assert looked == 3 and len(pairs) == 3
