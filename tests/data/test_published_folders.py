"""Folders of pictures as published data sets unpack: classes below a folder, splits in lists, classes in a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.understand import understand


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)).save(path)


def classes(root: Path, count: int = 20) -> list[str]:
    """pie/0.png, soup/0.png, ...: the names without their ending, in turns."""
    names = [f"{label}/{i}" for i in range(count) for label in ("pie", "soup")]
    for seed, name in enumerate(names):
        picture(root / f"{name}.png", seed)
    return names


def names_of(dataset: data.Dataset, part: str) -> set[str]:
    split = dataset.split(part)
    return {"/".join(Path(split.source(i)).with_suffix("").parts[-2:]) for i in range(len(split))}


def opened(root: Path) -> data.Dataset:
    understood = understand(root)
    assert understood.task == "classify"
    return data.open(understood.data, "classify")


@pytest.mark.parametrize("wrapper", ["images", "Final_Training/Images"])
def test_classes_lie_in_the_only_folder_with_pictures(tmp_path: Path, wrapper: str) -> None:
    names = classes(tmp_path / wrapper)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "about.txt").write_text("two dishes")
    dataset = opened(tmp_path)
    assert dataset.labels == ("pie", "soup")
    assert set().union(*(names_of(dataset, part) for part in dataset.splits)) == set(names)
    assert any(f"{wrapper}/ are the classes" in note for note in dataset.notes)


def test_an_empty_class_beside_one_with_folders_is_no_wrapping(tmp_path: Path) -> None:
    classes(tmp_path / "cat")
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match="only one class"):
        data.open(Data(format="image-folder", path=str(tmp_path)), "classify")


def food101(root: Path) -> list[str]:
    names = classes(root / "images")
    (root / "meta").mkdir()
    (root / "meta" / "train.txt").write_text("\n".join(names[:28]) + "\n")
    (root / "meta" / "test.txt").write_text("\n".join(names[28:]) + "\n")
    (root / "meta" / "classes.txt").write_text("pie\nsoup\n")
    return names


def cub(root: Path) -> list[str]:
    names = classes(root / "images")
    (root / "images.txt").write_text("".join(f"{i} {name}.png\n" for i, name in enumerate(names, 1)))
    (root / "train_test_split.txt").write_text("".join(f"{i} {int(i <= 28)}\n" for i in range(1, 41)))
    return names


def beside_classes(root: Path) -> list[str]:
    names = classes(root)
    (root / "train.txt").write_text("".join(f"./{name}.png 0\n" for name in names[:28]))
    (root / "test.txt").write_text("".join(f"{root.name}/{name}.png 0\n" for name in names[28:]))
    return names


def of_test_alone(root: Path) -> list[str]:
    names = classes(root)
    (root / "test.txt").write_text("\n".join(names[28:]))
    return names


@pytest.mark.parametrize("write", [food101, cub, beside_classes, of_test_alone])
def test_splits_are_those_of_the_lists(tmp_path: Path, write) -> None:
    names = write(tmp_path)
    dataset = opened(tmp_path)
    assert list(dataset.splits) == ["train", "val", "test"]
    assert names_of(dataset, "test") == set(names[28:])
    assert names_of(dataset, "train") | names_of(dataset, "val") == set(names[:28])
    assert any("splits are those of the lists" in note for note in dataset.notes)


def test_pictures_in_no_list_lines_of_no_picture_and_pictures_in_two_lists(tmp_path: Path) -> None:
    names = food101(tmp_path)
    train = tmp_path / "meta" / "train.txt"
    train.write_text("\n".join([*names[2:28], "pie/99"]))
    notes = opened(tmp_path).notes
    assert any("2 pictures are in no list and are left out" in note for note in notes), notes
    assert any("1 lines of these lists name no picture" in note for note in notes), notes

    train.write_text("\n".join(names[:30]))
    with pytest.raises(DataError, match="2 pictures stand in the lists of two splits"):
        opened(tmp_path)


def test_texts_that_list_no_pictures_are_no_lists(tmp_path: Path) -> None:
    names = classes(tmp_path)
    for part in ("train", "test"):
        (tmp_path / f"{part}.txt").write_bytes("how the pictures were taken\nand by whom: Zoë\n".encode("latin-1"))
    dataset = opened(tmp_path)
    assert sum(len(names_of(dataset, part)) for part in dataset.splits) == len(names)
    assert any("lists of splits" in note and "are not read" in note for note in dataset.notes)


def test_names_with_blanks_and_columns_behind_them(tmp_path: Path) -> None:
    names = [f"{label}/no {i}" for i in range(20) for label in ("apple pie", "soup")]
    for seed, name in enumerate(names):
        picture(tmp_path / f"{name}.png", seed)
    (tmp_path / "train.txt").write_text("\n".join(f"{name}.png" for name in names[:28]))
    (tmp_path / "test.txt").write_text("\n".join(f"{name}.png 3" for name in names[28:]))
    assert names_of(opened(tmp_path), "test") == set(names[28:])


def skin(root: Path, folder: str = "images_part_{}", count: int = 60) -> None:
    rows = ["lesion_id,image_id,dx,dx_type,age,sex"]
    for i in range(count):
        picture(root / folder.format(i % 2 + 1) / f"ISIC_{i:05d}.jpg", i)
        label, sex = ("nv", "mel", "bkl")[i % 3], ("male", "female")[i % 2]
        rows.append(f"HAM_{i},ISIC_{i:05d},{label},histo,{40 + i % 7}.0,{sex}")
    (root / "metadata.csv").write_text("\n".join([rows[0], *reversed(rows[1:])]))


@pytest.mark.parametrize("count", [60, 1000])
def test_a_table_says_the_classes_of_pictures_in_folders_of_parts(tmp_path: Path, count: int) -> None:
    skin(tmp_path, count=count)
    understood = understand(tmp_path)
    assert (understood.data.format, understood.data.label) == ("image-table", "dx")
    assert set(opened(tmp_path).labels) == {"nv", "mel", "bkl"}


@pytest.mark.parametrize("folder", ["train/{}", "{}"])
def test_folders_that_the_table_calls_classes_or_that_are_splits_stay(tmp_path: Path, folder: str) -> None:
    for i in range(40):
        picture(tmp_path / folder.format(("nv", "mel")[i % 2]) / f"{i}.jpg", i)
    labels = "".join(f"{i}.jpg,{('nv', 'mel')[i % 2]}\n" for i in range(40))
    (tmp_path / "labels.csv").write_text("image,dx\n" + labels)
    assert understand(tmp_path).data.format == "image-folder"
