"""Outlines of COCO's json format and of YOLO's text as masks, against pixels that are drawn by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.understand import understand

pytest.importorskip("PIL", reason="pictures are read by pillow")
mask_utils = pytest.importorskip("pycocotools.mask", reason="outlines are drawn by pycocotools")
HEIGHT, WIDTH, COUNT = 12, 16, 40
NAMES = ({"id": 3, "name": "road"}, {"id": 7, "name": "car"})


def rectangle(x1: int, y1: int, x2: int, y2: int) -> list[list[float]]:
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def runs(pixels: np.ndarray) -> dict[str, Any]:
    """Uncompressed run lengths: columns first, zeros first."""
    flat = pixels.T.ravel()
    ends = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    counts = [b - a for a, b in itertools.pairwise(ends)]
    return {"size": [HEIGHT, WIDTH], "counts": [0, *counts] if flat[0] else counts}


def packed(pixels: np.ndarray) -> dict[str, Any]:
    encoded = mask_utils.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def write(root: Path, change: Any = None, count: int = COUNT) -> Path:
    """Pictures with a road below and a car on it, in every way that outlines are written."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    road, car = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    road[6:12], car[5:9, 4:9] = True, True
    for i in range(count):
        scenes.save(root / f"{i:02d}.png", rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
        images.append({"id": i, "file_name": f"{i:02d}.png", "height": HEIGHT, "width": WIDTH})
        outlines = (rectangle(0, 6, 16, 12), rectangle(4, 5, 9, 9)) if i % 3 == 0 else None
        outlines = outlines or ((runs(road), runs(car)) if i % 3 == 1 else (packed(road), packed(car)))
        rows = [(7, outlines[1], 20), (3, outlines[0], 96)]  # the car is listed first, and drawn last
        annotations += [
            {
                "id": len(annotations) + k,
                "image_id": i,
                "category_id": kind,
                "segmentation": s,
                "area": area,
                "bbox": [0, 0, 2, 2],
            }
            for k, (kind, s, area) in enumerate(rows)
        ]
    table = {"images": images, "annotations": annotations, "categories": list(NAMES)}
    if change is not None:
        change(table)
    (root / "_annotations.coco.json").write_text(json.dumps(table))
    return root


def opened(root: Path) -> data.Dataset:
    return data.open(Data(format="coco-masks", path=str(root)), "segment")


def truth() -> np.ndarray:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[6:12] = 1
    pixels[5:9, 4:9] = 2
    return pixels


def test_masks_are_those_that_were_outlined(tmp_path: Path) -> None:
    dataset = opened(write(tmp_path))
    assert dataset.labels == ("background", "road", "car")
    seen = 0
    for name in dataset.splits:
        split = dataset.split(name)
        for i in range(len(split)):
            np.testing.assert_array_equal(np.asarray(split.targets[i]), truth())
            seen += 1
    assert seen == COUNT


def test_a_category_called_background_is_the_rest(tmp_path: Path) -> None:
    def rename(table: dict[str, Any]) -> None:
        table["categories"] = [{"id": 0, "name": "Background"}, *table["categories"]]

    dataset = opened(write(tmp_path, rename))
    assert dataset.labels == ("background", "road", "car")


def test_both_ways_to_read_a_coco_file_are_known(tmp_path: Path) -> None:
    understood = understand(write(tmp_path))
    assert (understood.data.format, understood.others) == ("coco", ("coco-masks",))
    assert understand(tmp_path, task="segment").data.format == "coco-masks"


def test_outlines_of_the_stored_pixels_turn_with_their_picture(tmp_path: Path) -> None:
    from PIL import Image

    write(tmp_path, count=4)
    tag = Image.Exif()
    tag[0x0112] = 6
    for i in range(4):
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / f"{i:02d}.jpg", exif=tag)
        (tmp_path / f"{i:02d}.png").unlink()
    file = tmp_path / "_annotations.coco.json"
    file.write_text(file.read_text().replace(".png", ".jpg"))
    dataset = opened(tmp_path)
    split = dataset.split("train")
    assert split.raw(0).shape[:2] == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(np.asarray(split.targets[0]), truth()[::-1].T)
    assert any("turned by their EXIF orientation" in note for note in dataset.notes)


def _annotation(key: str, value: Any, index: int = 0) -> Any:
    return lambda table: table["annotations"][index].__setitem__(key, value)


BAD = {
    "two points": (_annotation("segmentation", [[0, 0, 4, 4]]), "three or more points"),
    "words": (_annotation("segmentation", [["a"] * 6]), "three or more points"),
    "not finite": (_annotation("segmentation", [[0, 0, 1e999, 0, 4, 4]]), "three or more points"),
    "a point far away": (_annotation("segmentation", [[0, 0, 1e9, 0, 4, 4]]), "outside of its picture"),
    "runs too short": (_annotation("segmentation", {"size": [HEIGHT, WIDTH], "counts": [3, 4]}), "add up to 7"),
    "runs of another size": (_annotation("segmentation", {"size": [1, 1], "counts": [1]}), r"size \[1, 1\]"),
    "packed garbage": (_annotation("segmentation", {"size": [HEIGHT, WIDTH], "counts": "oooo"}), "run lengths end"),
    "packed too long": (_annotation("segmentation", {"size": [HEIGHT, WIDTH], "counts": "0O1000"}), "add up to"),
    "a number": (_annotation("segmentation", 7), "neither polygons nor run lengths"),
    "no category": (_annotation("category_id", 99), "not among the categories"),
    "no size": (lambda table: table["images"][0].pop("height"), "height and width are None"),
    "a huge size": (lambda table: table["images"][0].update(height=10**9, width=10**9), "height and width are"),
    "another size": (lambda table: table["images"][1].update(height=99), "size|99 pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_picture_with_a_broken_outline_is_left_out_and_many_stop(name: str, tmp_path: Path) -> None:
    change, words = BAD[name]
    dataset = opened(write(tmp_path / "few", change))
    assert sum(len(dataset.split(part)) for part in dataset.splits) == COUNT - 1
    assert any("1 of 40 pictures cannot be used" in note for note in dataset.notes)
    with pytest.raises(DataError, match=words) as refused:
        opened(write(tmp_path / "many", change, count=3))
    assert "_annotations.coco.json" in refused.value.where and refused.value.remedy


def test_boxes_alone_are_for_detection(tmp_path: Path) -> None:
    def drop(table: dict[str, Any]) -> None:
        for row in table["annotations"]:
            row["segmentation"] = []

    with pytest.raises(DataError, match="boxes and no outlines") as refused:
        opened(write(tmp_path / "all", drop))
    assert "coco" in refused.value.remedy

    def drop_first(table: dict[str, Any]) -> None:
        table["annotations"][0]["segmentation"] = []

    notes = opened(write(tmp_path / "first", drop_first)).notes
    assert any("1 annotations have a box and no outline" in note for note in notes)


# --- YOLO -------------------------------------------------------------------------------------------------------------
def write_yolo(root: Path, first: str = "", count: int = COUNT) -> Path:
    rng = np.random.default_rng(0)
    (root / "labels").mkdir(parents=True)
    shares = {kind: (np.array(rectangle(*corners)) / ([WIDTH, HEIGHT] * 4))[0] for kind, corners in (
        (1, (4, 5, 9, 9)), (0, (0, 6, 16, 12)),
    )}  # fmt: skip
    for i in range(count):
        scenes.save(root / "images" / f"{i:02d}.png", rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
        lines = [f"{kind} {' '.join(f'{v:.6f}' for v in points)}" for kind, points in shares.items()]
        lines = [first] if first and not i else lines
        (root / "labels" / f"{i:02d}.txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text("names: [road, car]\n")
    return root


def test_outlines_of_yolo_are_the_same_masks(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d")
    dataset = data.open(Data(format="yolo-masks", path=str(root)), "segment")
    assert dataset.labels == ("background", "road", "car")
    for name in dataset.splits:
        split = dataset.split(name)
        for i in range(len(split)):
            np.testing.assert_array_equal(np.asarray(split.targets[i]), truth())
    assert sum(len(dataset.split(name)) for name in dataset.splits) == COUNT
    assert understand(root, task="segment").data.format == "yolo-masks"
    assert understand(root).data.format == "yolo"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.1 0.1 0.2 0.2 0.3", "6 values"),
        ("0 10 10 90 10 90 90", "are these pixels"),
        ("5 0 0 1 0 1 1", "out of range"),
        ("car 0 0 1 0 1 1", "could not convert"),
        ("0 nan 0 1 0 1 1", "not a share"),
    ],
)
def test_a_wrong_line_of_yolo_names_its_place(line: str, words: str, tmp_path: Path) -> None:
    few = data.open(Data(format="yolo-masks", path=str(write_yolo(tmp_path / "few", line))), "segment")
    assert any("1 of 40 pictures cannot be used" in note and "00.txt:1" in note for note in few.notes)
    with pytest.raises(DataError, match=words) as refused:
        data.open(Data(format="yolo-masks", path=str(write_yolo(tmp_path / "many", line, count=3))), "segment")
    assert "00.txt:1" in refused.value.where


def test_boxes_of_yolo_are_for_detection(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="boxes and no outlines"):
        data.open(Data(format="yolo-masks", path=str(write_yolo(tmp_path, "0 .5 .5 .2 .2", count=1))), "segment")


# --- labelme ----------------------------------------------------------------------------------------------------------
def test_shapes_of_labelme_are_drawn_in_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(10):
        scenes.save(tmp_path / f"{i:02d}.png", rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
        shapes = [
            {"label": "road", "points": [[0, 6], [16, 6], [16, 12], [0, 12]], "shape_type": "polygon"},
            {"label": "car", "points": [[9, 9], [4, 5]], "shape_type": "rectangle"},
            {"label": "car", "points": [[1, 1]], "shape_type": "point"},
        ]
        table = {"shapes": shapes, "imagePath": f"{i:02d}.png", "imageHeight": HEIGHT, "imageWidth": WIDTH}
        (tmp_path / f"{i:02d}.json").write_text(json.dumps(table))
    dataset = data.open(Data(format="labelme-masks", path=str(tmp_path)), "segment")
    assert dataset.labels == ("background", "car", "road")
    expected = np.array([0, 2, 1], np.uint8)[truth()]
    split = dataset.split("train")
    assert len(split) >= 6 and all((np.asarray(split.targets[i]) == expected).all() for i in range(len(split)))
    assert understand(tmp_path, task="segment").data.format == "labelme-masks"
    assert understand(tmp_path).data.format == "labelme"
