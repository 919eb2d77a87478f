"""COCO's json format: the same scenes as in YOLO's, and every wrong entry named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes

from edgeft import data
from edgeft.config import recipe
from edgeft.core.errors import DataError

pytest.importorskip("PIL", reason="pictures are read by pillow")


def opened(root: Path) -> data.Dataset:
    return data.open(recipe.Data(format="coco", path=str(root)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return scenes.write_coco(tmp_path / "coco", {"train": 45, "val": 4, "test": 4})


def change(root: Path, edit: Callable[[dict[str, Any]], object], part: str = "train") -> Path:
    path = root / "annotations" / f"instances_{part}.json"
    table = json.loads(path.read_text())
    edit(table)
    path.write_text(json.dumps(table))
    return path


def test_the_same_data_as_in_yolos_format(root: Path, tmp_path: Path) -> None:
    made = opened(root)
    other = data.open(
        recipe.Data(format="yolo", path=str(scenes.write_yolo(tmp_path / "yolo", {"train": 45, "val": 4, "test": 4})))
    )
    assert made.labels == other.labels == ("disc", "bar") and not made.notes
    for part in ("train", "val", "test"):
        one, two = made.split(part), other.split(part)
        assert [one.digest(i) for i in range(len(one))] == [two.digest(i) for i in range(len(two))]
        for a, b in zip(one.targets, two.targets):
            np.testing.assert_allclose(a["boxes"], b["boxes"], atol=1e-3)
            assert a["classes"].tolist() == b["classes"].tolist()


def test_one_file_and_files_beside_the_pictures(root: Path) -> None:
    whole = opened(root)
    for part in ("train", "val", "test"):
        (root / "annotations" / f"instances_{part}.json").rename(root / part / "_annotations.coco.json")
    assert data.fingerprint(opened(root)) == data.fingerprint(whole)
    alone = opened(root / "train" / "_annotations.coco.json")
    assert sum(len(split) for split in alone.splits.values()) == 45 and "stretches" in alone.notes[0]


def test_crowds_are_kept_as_such(root: Path) -> None:
    change(root, lambda t: t["annotations"][0].update(iscrowd=1))
    assert opened(root).split("train").targets[0]["crowd"][0]


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no box": (lambda t: t["annotations"][0].pop("bbox"), "annotations[0]: 'bbox' is None"),
    "three numbers": (lambda t: t["annotations"][0].update(bbox=[1, 2, 3]), "annotations[0]: 'bbox' is [1, 2, 3]"),
    "no area": (lambda t: t["annotations"][0].update(bbox=[1, 2, 0, 3]), "annotations[0]: the box has no area"),
    "outside": (lambda t: t["annotations"][0].update(bbox=[90, 2, 30, 3]), "annotations[0]: the box"),
    "category": (lambda t: t["annotations"][0].update(category_id=7), "annotations[0]: the category 7"),
    "nobody's": (lambda t: t["annotations"][0].update(image_id=777), "annotations[0]: its image_id 777"),
    "size": (lambda t: t["images"][0].update(width=640), "images[0]: says 640x60"),
    "file": (lambda t: t["images"][0].update(file_name="absent.png"), "images[0]: the picture 'absent.png'"),
    "way out": (lambda t: t["images"][0].update(file_name="../train/0000.png"), "images[0]: the picture"),
    "twice": (lambda t: t["images"][1].update(id=1), "images[1]: the id 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_entry_is_named(root: Path, name: str) -> None:
    edit, words = WRONG[name]
    path = change(root, edit)
    made = opened(root)
    note = made.notes[0]
    assert f"{path}: {words}" in note, note


def test_too_many_wrong_ones_stop_the_run(root: Path) -> None:
    path = change(root, lambda t: [a.update(category_id=3) for a in t["annotations"]])
    with pytest.raises(DataError, match="45 of 45 pictures") as caught:
        opened(root)
    assert caught.value.where.startswith(str(path))


def test_files_that_are_no_annotations(root: Path, tmp_path: Path) -> None:
    path = root / "annotations" / "instances_val.json"
    path.write_text('{"images": [],\n"annotations": [,]}')
    with pytest.raises(DataError, match="is not JSON") as caught:
        opened(root)
    assert caught.value.where == f"{path}:2"
    path.write_text('{"images": [], "annotations": []}')
    with pytest.raises(DataError, match="categories"):
        opened(root)
    path.write_text('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "dog"}]}')
    with pytest.raises(DataError, match="not those of"):
        opened(root)
    with pytest.raises(DataError, match="no annotations"):
        opened(tmp_path)
    with pytest.raises(DataError, match="no such"):
        opened(tmp_path / "absent")
