from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgeft import data
from edgeft.config import recipe
from edgeft.core.errors import DataError, RecipeError, UsageError

Image = pytest.importorskip("PIL.Image", reason="image folders need pillow")


def write(folder: Path, n: int, seed: int, size: tuple[int, int] = (8, 10)) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = [folder / f"{i:03}.png" for i in range(n)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)
    return paths


def tree(root: Path, **splits: int) -> Path:
    for s, (split, n) in enumerate(splits.items()):
        for c, label in enumerate(("ant", "bee")):
            write(root / split / label, n, 10 * s + c)
    return root


def open_(path: Path, **changes: object) -> data.Dataset:
    return data.open(recipe.Data(path=str(path), **changes))  # type: ignore[arg-type]


def test_three_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    dataset = open_(tree(tmp_path, train=5, valid=3, test=2))
    assert dataset.labels == ("ant", "bee")
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [10, 6, 4]
    assert dataset.notes == []
    split = dataset.split("val")
    assert split.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert split.source(3) == str(tmp_path / "valid" / "bee" / "000.png")
    raw = split.raw(0)
    assert raw.dtype == np.uint8 and raw.shape == (8, 10, 3)
    np.testing.assert_array_equal(raw, np.asarray(Image.open(split.source(0))))
    assert len({split.digest(i) for i in range(6)}) == 6


def test_class_folders_alone_are_divided_by_class_and_seed(tmp_path: Path) -> None:
    write(tmp_path / "ant", 20, 0)
    write(tmp_path / "bee", 40, 1)
    first, again = open_(tmp_path), open_(tmp_path)
    other = open_(tmp_path, split_seed=1)
    sources = [{first.split(n).source(i) for i in range(len(first.split(n)))} for n in ("train", "val", "test")]
    assert sum(map(len, sources)) == len(set().union(*sources)) == 60
    assert [np.bincount(first.split(n).targets).tolist() for n in ("train", "val", "test")] == [
        [14, 28],
        [3, 6],
        [3, 6],
    ]
    assert data.fingerprint(first) == data.fingerprint(again) != data.fingerprint(other)
    assert "divided" in first.notes[0]


@pytest.mark.parametrize(("given", "taken"), [({"train": 10, "test": 4}, "val"), ({"train": 10, "val": 4}, "test")])
def test_a_missing_split_comes_from_train_only(tmp_path: Path, given: dict[str, int], taken: str) -> None:
    dataset = open_(tree(tmp_path, **given))
    split = dataset.split(taken)
    assert len(split) and all(Path(split.source(i)).parts[-3] == "train" for i in range(len(split)))
    assert len(split) + len(dataset.split("train")) == 20
    kept = "test" if taken == "val" else "val"
    assert len(dataset.split(kept)) == 8
    assert not data.overlap(dataset.split("train"), split)


def test_only_a_test_folder_is_a_test_split_only(tmp_path: Path) -> None:
    dataset = open_(tree(tmp_path, test=3))
    assert len(dataset.split("test")) == 6
    with pytest.raises(DataError, match="no train split"):
        dataset.split("train")
    with pytest.raises(UsageError, match="did you mean 'test'"):
        dataset.split("tests")


def test_missing_empty_and_one_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder") as error:
        open_(tmp_path / "nowhere")
    assert error.value.exit_code == 3
    with pytest.raises(DataError, match="no images"):
        open_(tmp_path)
    write(tmp_path / "ant", 4, 0)
    with pytest.raises(DataError, match="only one class"):
        open_(tmp_path)


def test_a_class_that_one_split_lacks_is_named(tmp_path: Path) -> None:
    tree(tmp_path, train=3, val=3, test=3)
    write(tmp_path / "test" / "wasp", 2, 7)
    with pytest.raises(DataError, match="train split has no sample of 'wasp'"):
        open_(tmp_path)


def test_too_few_to_divide(tmp_path: Path) -> None:
    write(tmp_path / "ant", 1, 0)
    write(tmp_path / "bee", 1, 1)
    with pytest.raises(DataError, match="too few"):
        open_(tmp_path)
    write(tmp_path / "bee", 9, 1)
    dataset = open_(tmp_path)
    assert [int((dataset.split(name).targets == 0).sum()) for name in ("train", "val", "test")] == [1, 0, 0]
    assert any("the test split has no sample of 'ant'" in note for note in dataset.notes)


def test_two_validation_folders_are_ambiguous(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="both val/ and valid/"):
        open_(tree(tmp_path, train=3, val=3, valid=3))


@pytest.mark.parametrize("split", [(0.5, 0.5), (0.8, 0.2, 0.0), (0.9, 0.9, 0.9), (-1.0, 1.0, 1.0)])
def test_bad_fractions(tmp_path: Path, split: tuple[float, ...]) -> None:
    write(tmp_path / "ant", 9, 0)
    write(tmp_path / "bee", 9, 1)
    with pytest.raises(RecipeError, match=r"data\.split"):
        open_(tmp_path, split=split)


def test_few_broken_files_are_skipped_and_named(tmp_path: Path) -> None:
    tree(tmp_path, train=15, val=3, test=3)
    broken = tmp_path / "train" / "bee" / "004.png"
    broken.write_bytes(broken.read_bytes()[:60])
    dataset = open_(tmp_path)
    split = dataset.split("train")
    assert len(split) == 29 == len(split.targets)
    assert str(broken) not in {split.source(i) for i in range(29)}
    assert any(str(broken) in line and "1 of 30" in line for line in data.check(dataset))


def test_many_broken_files_stop_the_run(tmp_path: Path) -> None:
    tree(tmp_path, train=10, val=3, test=3)
    for i in (1, 2):
        (tmp_path / "train" / "ant" / f"{i:03}.png").write_bytes(b"not an image")
    dataset = open_(tmp_path)
    assert len(dataset.split("test")) == 6  # other splits are not touched by it
    with pytest.raises(DataError, match=r"2 of 20 images \(10%\)") as error:
        dataset.split("train")
    assert "001.png" in str(error.value) and error.value.exit_code == 3


def test_blood_cells() -> None:
    root = os.environ.get("EDGEFT_DATA")
    if not root:
        pytest.skip("EDGEFT_DATA is not set")
    dataset = open_(Path(root) / "01_image_medical" / "bccd_cells")
    assert dataset.labels == ("Platelets", "RBC", "WBC")
    assert len(dataset.split("train")) + len(dataset.split("val")) == 643 and len(dataset.split("test")) == 210
    assert dataset.split("train").raw(0).shape == (64, 64, 3)
    assert not any("leak" in line for line in data.check(dataset))
