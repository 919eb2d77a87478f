"""The data format tensors: files and archives of arrays, with targets and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeft import data
from edgeft.config import recipe
from edgeft.core.errors import DataError
from edgeft.data.understand import understand


def opened(path: Path, **keys: object) -> data.Dataset:
    return data.open(recipe.Data(format="tensors", path=str(path), **keys))  # type: ignore[arg-type]


def folder(root: Path, count: int = 6, targets: bool = True) -> Path:
    for part in ("inputs", "targets")[: 1 + targets]:
        (root / part).mkdir(parents=True)
        for i in range(count):
            np.save(root / part / f"{i:02d}.npy", np.full((2, 3) if part == "inputs" else (4,), i, np.float64))
    return root


def test_a_folder_of_files_with_targets(tmp_path: Path) -> None:
    dataset = opened(folder(tmp_path / "d"))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 4, "val": 1, "test": 1}
    assert not dataset.unlabelled and dataset.facts["targets"] == [{"name": "output", "shape": [4]}]
    assert dataset.facts["tensors"] == [{"name": "x", "shape": [2, 3], "dtype": "float32"}]
    for raw, target in dataset.split("train"):
        assert raw["x"].dtype == np.float32 and (raw["x"] == target[0]).all() and target.shape == (4,)


def test_without_targets_and_in_folders_of_the_splits(tmp_path: Path) -> None:
    for split in ("Train", "Validation", "test"):
        folder(tmp_path / split, 2, targets=False)
    dataset = opened(tmp_path)
    assert dataset.unlabelled and [len(split) for split in dataset.splits.values()] == [2, 2, 2]
    assert any("no targets" in note for note in dataset.notes)


@pytest.mark.parametrize("form", ["{}", "{}/a", "train_{}"])
def test_an_archive(form: str, tmp_path: Path) -> None:
    inputs, targets = np.arange(24, dtype=np.float32).reshape(8, 3), np.arange(8, dtype=np.int64)
    np.savez(
        tmp_path / "d.npz", **{form.format("inputs"): inputs, form.format("targets"): targets, "note": np.zeros(1)}
    )
    dataset = opened(tmp_path / "d.npz")
    assert sum(len(split) for split in dataset.splits.values()) == 8
    for raw, target in dataset.split("train"):
        (values,) = raw.values()
        assert values[0] == 3 * target[0]


def test_several_outputs_stand_behind_each_other(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", targets=False)
    (root / "targets").mkdir()
    for i in range(6):
        np.savez(root / "targets" / f"{i:02d}.npz", depth=np.full((1, 2), i), pose=np.full(3, -i))
    dataset = opened(root)
    assert dataset.labels == ("depth", "pose")
    assert [list(t) for _, t in dataset.split("test")] == [
        [i, i, -i, -i, -i] for i in dataset.split("test").targets[:, 0]
    ]


def break_missing(root: Path) -> None:
    (root / "targets" / "03.npy").unlink()


def break_shape(root: Path) -> None:
    np.save(root / "targets" / "03.npy", np.zeros(5))


def break_unknown(root: Path) -> None:
    np.save(root / "targets" / "03.npy", np.full(4, np.nan))


def break_infinite(root: Path) -> None:
    np.save(root / "targets" / "03.npy", np.array([0, 0, np.inf, 0]))


def break_objects(root: Path) -> None:
    np.save(root / "inputs" / "00.npy", np.array([{}]), allow_pickle=True)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (break_missing, "1 of 6 samples have no target, 03.npy"),
        (break_shape, "the first target is"),
        (break_unknown, "has no value that is known"),
        (break_infinite, "holds infinite values"),
        (break_objects, "not readable as an array"),
    ],
)
def test_damaged_folders(change: object, problem: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "d")
    change(root)  # type: ignore[operator]
    with pytest.raises(DataError, match=problem):
        opened(root)


def test_damaged_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pixels=np.zeros(3))
    with pytest.raises(DataError, match="has no array called inputs, only pixels"):
        opened(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", inputs=np.zeros((3, 1)), targets=np.zeros(2))
    with pytest.raises(DataError, match="3 inputs and 2 targets"):
        opened(tmp_path / "b.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.npy or \.npz"):
        opened(tmp_path / "empty")


def test_a_target_without_a_sample_is_told(tmp_path: Path) -> None:
    root = folder(tmp_path / "d")
    (root / "inputs" / "05.npy").unlink()
    assert any("1 targets without a sample are left out (05" in note for note in opened(root).notes)


def test_it_is_recognized(tmp_path: Path) -> None:
    root = folder(tmp_path / "d")
    np.savez(tmp_path / "e.npz", inputs=np.zeros((4, 2)))
    assert understand(root).data.format == understand(tmp_path / "e.npz").data.format == "tensors"
