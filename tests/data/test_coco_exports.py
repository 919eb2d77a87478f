"""COCO's format as tools export it: CVAT, Roboflow, Label Studio, Windows, phones; boxes lie on their objects."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.inputs import mask, picture_file

PIL = pytest.importorskip("PIL.Image", reason="pictures are read by pillow")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return scenes.write_coco(tmp_path / "coco", {"train": 25, "val": 4, "test": 4})


def opened(root: Path) -> data.Dataset:
    return data.open(Data(format="coco", path=str(root)), "detect")


def change(root: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    for path in sorted(root.rglob("*.json")):
        table = json.loads(path.read_text())
        edit(table)
        path.write_text(json.dumps(table))


def on_objects(dataset: data.Dataset) -> bool:
    """Whether the middle of every box has the colour of its class: discs are red, bars are blue."""
    for split in dataset.splits.values():
        for i in range(len(split)):
            raw, target = split.raw(i), split.targets[i]
            for kind, (x1, y1, x2, y2) in zip(target["classes"], target["boxes"]):
                pixel = raw[int(y1 + y2) // 2, int(x1 + x2) // 2].astype(int)
                if (dataset.labels[kind] == "disc") != (pixel[0] > pixel[2]) or abs(pixel[0] - pixel[2]) < 60:
                    return False
    return True


def test_backslashes_and_folders_that_are_elsewhere(root: Path) -> None:
    whole = data.fingerprint(opened(root))
    change(root, lambda t: [row.update(file_name=f"images\\{row['file_name']}") for row in t["images"]])
    for part in ("train", "val", "test"):
        (root / part).rename(root / f"{part}-pictures")
        (root / part).mkdir()
        (root / f"{part}-pictures").rename(root / part / "images")
    dataset = opened(root)
    assert data.fingerprint(dataset) == whole and dataset.notes == []


def test_the_folders_of_cvat(root: Path) -> None:
    (root / "images" / "default").mkdir(parents=True)
    for path in (root / "train").iterdir():
        path.rename(root / "images" / "default" / path.name)
    for part in ("val", "test"):
        (root / "annotations" / f"instances_{part}.json").unlink()
        shutil.rmtree(root / part)
    (root / "annotations" / "instances_train.json").rename(root / "annotations" / "instances_default.json")
    dataset = opened(root)
    assert sum(map(len, dataset.splits.values())) == 25 and on_objects(dataset)


def test_a_name_that_fits_two_pictures_is_refused(root: Path) -> None:
    for folder in ("a", "b"):
        (root / "more" / folder).mkdir(parents=True)
        (root / "more" / folder / "twice.png").write_bytes((root / "train" / "0000.png").read_bytes())
    change(root, lambda t: t["images"][0].update(file_name="/home/user/twice.png") if len(t["images"]) > 4 else None)
    assert "may be" in opened(root).notes[0]
    (root / "more" / "a" / "twice.png").unlink()
    (note,) = [note for note in opened(root).notes if "found by their names" in note]
    assert "/home/user/twice.png" in note


def test_ids_are_texts_in_one_list_and_numbers_in_another(root: Path) -> None:
    whole = data.fingerprint(opened(root))
    change(root, lambda t: [row.update(image_id=str(row["image_id"])) for row in t["annotations"]])
    change(root, lambda t: [row.update(id=str(row["id"])) for row in t["categories"]])
    assert data.fingerprint(opened(root)) == whole


def test_categories_that_group_others_are_no_classes(root: Path) -> None:
    def grouped(table: dict[str, Any]) -> None:
        for row in table["categories"]:
            row["supercategory"] = "things"
        table["categories"].insert(0, {"id": 0, "name": "things", "supercategory": "none"})

    change(root, grouped)
    dataset = opened(root)
    assert dataset.labels == ("disc", "bar")
    assert any("'things' only groups other categories" in note for note in dataset.notes)


def test_a_root_of_the_name_of_a_class(root: Path) -> None:
    def twin(table: dict[str, Any]) -> None:
        for row in table["categories"]:
            row["supercategory"] = "disc"
        table["categories"].insert(0, {"id": 0, "name": "disc", "supercategory": "none"})

    change(root, twin)
    dataset = opened(root)
    assert dataset.labels == ("disc", "bar") and on_objects(dataset)
    assert any("without annotations (id 0) is left out" in note for note in dataset.notes)


def test_categories_numbered_otherwise_in_one_file_are_joined_by_name(root: Path) -> None:
    whole = data.fingerprint(opened(root))
    path = root / "annotations" / "instances_val.json"
    table = json.loads(path.read_text())
    number = {10: 1, 20: 0}
    for row in table["categories"]:
        row["id"] = number[row["id"]]
    for row in table["annotations"]:
        row["category_id"] = number[row["category_id"]]
    path.write_text("\ufeff" + json.dumps(table), encoding="utf-8")
    dataset = opened(root)
    assert data.fingerprint(dataset) == whole and "joined by their names" in dataset.notes[0]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_boxes_of_stored_pixels_are_turned_with_the_picture(root: Path, orientation: int) -> None:
    """The sizes in the file say which pixels the boxes are of; where they cannot, the upright ones are meant."""
    tags = PIL.Exif()
    tags[picture_file.ORIENTATION] = orientation
    for path in root.rglob("*.png"):
        pixels = np.asarray(PIL.open(path))
        if orientation < 5:  # the picture as seen stays: its stored pixels are turned the other way
            pixels = np.stack([mask.upright(pixels[:, :, c], orientation) for c in range(3)], axis=2)
        PIL.fromarray(pixels).save(path, exif=tags)
    dataset = opened(root)
    assert on_objects(dataset)
    words = "the boxes were turned along" if orientation >= 5 else "taken as those of the upright picture"
    (note,) = [note for note in dataset.notes if "EXIF" in note]
    assert words in note and note.startswith("33 pictures")
    assert dataset.split("train").raw(0).shape[:2] == ((100, 60) if orientation >= 5 else (60, 100))


def test_a_class_without_a_box_is_named(root: Path) -> None:
    change(root, lambda t: t["categories"].append({"id": 30, "name": "star"}))
    assert next(note for note in opened(root).notes if "no box is of 'star'" in note).startswith("train: ")
