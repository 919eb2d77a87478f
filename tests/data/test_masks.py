"""Folders of pictures and masks: what is read, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import mask_shapes
import numpy as np
import pytest
from PIL import Image

from edgeft import data
from edgeft.errors import DataError, RecipeError
from edgeft.recipe import Data
from edgeft.tasks import mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return mask_shapes.write_folder(tmp_path / "scenes", {"train": 4, "val": 2, "test": 2}, side=32)


def opened(root: Path, void: object = "rim") -> data.Dataset:
    return data.open(Data(format="masks", path=str(root), masks={"void": void}))


def test_ids_without_void(root: Path) -> None:
    made = opened(root)
    assert made.labels == mask_shapes.LABELS
    split = made.split("train")
    assert len(split) == 4
    ids = np.array(Image.open(root / "train" / "labels" / "000.png"))
    want = np.array([0, mask.VOID, 1, 2], np.uint8)[ids]
    assert (np.asarray(split.targets[0]) == want).all()


def test_an_id_without_a_class_names_the_file(root: Path) -> None:
    path = root / "train" / "labels" / "001.png"
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(path)
    with pytest.raises(DataError, match=r"001\.png"):
        opened(root).split("train")


def test_a_mask_of_another_size_names_the_file(root: Path) -> None:
    Image.fromarray(np.zeros((16, 32), np.uint8)).save(root / "train" / "labels" / "002.png")
    with pytest.raises(DataError, match=r"002\.png"):
        opened(root).split("train")


def test_a_truncated_mask_names_the_file(root: Path) -> None:
    path = root / "train" / "labels" / "003.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"003\.png"):
        opened(root).split("train")


def test_a_missing_mask_names_the_picture(root: Path) -> None:
    (root / "val" / "labels" / "001.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 pictures .* have no mask: .*001\.png"):
        opened(root)


def test_void_that_is_no_class(root: Path) -> None:
    with pytest.raises(RecipeError, match="'rimm' is no class"):
        opened(root, void="rimm")
