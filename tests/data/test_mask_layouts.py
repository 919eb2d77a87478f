"""Label masks as data sets bring them: black and white, palettes, suffixes, Cityscapes, Pascal VOC, CamVid, ADE20K."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.inputs import mask, picture_file

PIL = pytest.importorskip("PIL.Image", reason="pictures are read by pillow")
SIZE = (24, 32)


def ids_of(i: int) -> np.ndarray:
    """Label ids uint8 (24, 32): 1 in a block that moves with `i`, 0 elsewhere."""
    ids = np.zeros(SIZE, np.uint8)
    ids[4 : 10 + i % 5, 6 : 20 - i % 3] = 1
    return ids


def picture(ids: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(int(ids.sum())).integers(0, 40, (*ids.shape, 3)).astype(np.uint8)
    return noise + np.where(ids == 1, 180, 20)[:, :, None].astype(np.uint8)


def palette(ids: np.ndarray, colours: list[int]) -> PIL.Image:
    image = PIL.fromarray(ids, mode="P")
    image.putpalette(colours)
    return image


def write(
    root: Path, masks: str = "masks", images: str = "images", name: str = "{:03d}", mask_name: str = "{:03d}",
    count: int = 10, store=PIL.fromarray, classes: str | None = "background\nobject\n",
) -> Path:  # fmt: skip
    for folder in (masks, images):
        (root / folder).mkdir(parents=True)
    for i in range(count):
        ids = ids_of(i)
        path = root / images / f"{name.format(i)}.png"
        path.parent.mkdir(exist_ok=True)
        PIL.fromarray(picture(ids)).save(path)
        path = root / masks / f"{mask_name.format(i)}.png"
        path.parent.mkdir(exist_ok=True)
        store(ids).save(path)
    if classes:
        (root / "classes.txt").write_text(classes)
    return root


def opened(root: Path, **masks: object) -> data.Dataset:
    return data.open(Data(format="masks", path=str(root), masks=masks), "segment")


def agrees(dataset: data.Dataset, numbers: tuple[int, int] = (0, 1)) -> bool:
    """Whether every mask has the class numbers that the picture shows: bright pixels are objects."""
    for split in (dataset.split(name) for name in dataset.splits):
        for i in range(len(split)):
            shown = np.where(split.raw(i)[:, :, 0] > 120, numbers[1], numbers[0])
            if not np.array_equal(np.asarray(split.targets[i]), shown):
                return False
    return bool(len(dataset.splits))


BLACK_AND_WHITE = {
    "one bit": lambda ids: PIL.fromarray(ids * 255).convert("1"),
    "0 and 255": lambda ids: PIL.fromarray(ids * 255),
    "0 and 255 of three channels": lambda ids: PIL.fromarray(np.repeat(ids[:, :, None] * 255, 3, 2)),
}


@pytest.mark.parametrize("kind", BLACK_AND_WHITE)
def test_white_is_the_second_of_two_classes(tmp_path: Path, kind: str) -> None:
    dataset = opened(write(tmp_path, store=BLACK_AND_WHITE[kind]))
    assert dataset.labels == ("background", "object") and agrees(dataset)
    assert any("255 is 'object', not void" in note for note in dataset.notes)


def test_white_is_void_where_it_is_stated_or_beside_other_ids(tmp_path: Path) -> None:
    root = write(tmp_path, store=BLACK_AND_WHITE["0 and 255"])
    with pytest.raises(DataError, match="no pixel of the train split is 'object'"):
        opened(root, void=255).split("train")
    for path in (root / "masks").iterdir():
        ids = np.array(PIL.open(path)) // 255
        ids[0] = 255
        PIL.fromarray(ids).save(path)
    dataset = opened(root)
    first = np.asarray(dataset.split("train").targets[0])
    assert (first[0] == mask.VOID).all() and set(np.unique(first[1:]).tolist()) == {0, 1}


def test_black_and_white_as_colours_of_the_class_file(tmp_path: Path) -> None:
    text = "object 255 255 255\nbackground 0 0 0\n"
    assert agrees(opened(write(tmp_path, store=BLACK_AND_WHITE["0 and 255"], classes=text)), (1, 0))


def test_a_palette_counts_by_its_colours_where_classes_have_some(tmp_path: Path) -> None:
    """Quantized masks number their colours by frequency: the index says nothing."""
    root = write(
        tmp_path,
        store=lambda ids: palette(1 - ids, [128, 0, 0, 0, 0, 0]),
        classes="background 0 0 0\nobject 128 0 0\n",
    )
    assert agrees(opened(root))
    for path in (root / "masks").iterdir():
        stored = np.array(PIL.open(path))
        stored[0, 0] = 2
        palette(stored, [128, 0, 0, 0, 0, 0, 7, 8, 9]).save(path)
    with pytest.raises(DataError, match=r"\[7, 8, 9\] has no class"):
        opened(root).split("train")


def test_ids_in_three_equal_channels(tmp_path: Path) -> None:
    assert agrees(opened(write(tmp_path, store=lambda ids: PIL.fromarray(np.repeat(ids[:, :, None], 3, 2)))))


@pytest.mark.parametrize(
    ("name", "mask_name"),
    [
        ("{:03d}", "{:03d}_mask"),
        ("im{}", "im{}-labels"),
        ("{}", "mask_{}"),
        ("{}_sat", "{}_mask"),
        ("{:04d}", "{:04d}_L"),
    ],
)
def test_masks_with_a_common_prefix_or_suffix(tmp_path: Path, name: str, mask_name: str) -> None:
    dataset = opened(write(tmp_path, name=name, mask_name=mask_name, count=12))
    assert sum(map(len, dataset.splits.values())) == 12 and agrees(dataset)
    assert any("names of the form" in note for note in dataset.notes)


def test_several_masks_a_picture_are_ambiguous(tmp_path: Path) -> None:
    root = write(tmp_path, mask_name="{:03d}_first")
    for path in list((root / "masks").iterdir()):
        path.with_name(path.name.replace("first", "second")).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="NAME_first or NAME_second"):
        opened(root)


def test_cityscapes_by_its_own_names_and_ids(tmp_path: Path) -> None:
    def store(ids: np.ndarray) -> PIL.Image:
        road_and_car = np.array([7, 26], np.uint8)[ids]
        road_and_car[0] = np.arange(SIZE[1]) % 7  # unlabeled, ego vehicle, ...: void
        return PIL.fromarray(road_and_car)

    root = write(
        tmp_path, "gtFine", "leftImg8bit", "aachen/aachen_{:06d}_000019_leftImg8bit",
        "aachen/aachen_{:06d}_000019_gtFine_labelIds", store=store, classes=None,
    )  # fmt: skip
    for path in list((root / "gtFine" / "aachen").iterdir()):
        for kind in ("color", "instanceIds"):
            path.with_name(path.name.replace("labelIds", kind)).write_bytes(path.read_bytes())
        path.with_name(path.name.replace("labelIds.png", "polygons.json")).write_text("{}")
    dataset = opened(root)
    assert len(dataset.labels) == 19 and dataset.labels[0] == "road" and dataset.labels[13] == "car"
    assert any("classes of Cityscapes are taken" in note for note in dataset.notes)
    with pytest.raises(DataError, match="no pixel of the train split is 'sidewalk'"):
        dataset.split("train")
    first = np.asarray(dataset.splits._splits["train"].targets[0])  # type: ignore[attr-defined]
    assert (first[0] == mask.VOID).all() and set(np.unique(first[1:]).tolist()) == {0, 13}
    (root / "classes.txt").write_text("background\nobject\n")
    for path in (root / "gtFine" / "aachen").glob("*_labelIds.png"):
        PIL.fromarray(ids_of(int(path.name.split("_")[1]))).save(path)
    assert agrees(opened(root))


def test_pascal_voc_by_its_lists(tmp_path: Path) -> None:
    root = write(
        tmp_path / "VOCdevkit" / "VOC2012", "SegmentationClass", "JPEGImages", count=12,
        store=lambda ids: palette(np.where(ids_of(0) == ids, ids, ids), [0, 0, 0, 128, 0, 0]),
    )  # fmt: skip
    PIL.fromarray(picture(ids_of(3))).save(root / "JPEGImages" / "for_detection.png")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("".join(f"{i:03d}\n" for i in range(8)))
    (lists / "val.txt").write_text("008\n009\n")
    (lists / "trainval.txt").write_text("".join(f"{i:03d}\n" for i in range(10)))
    dataset = opened(tmp_path / "VOCdevkit")
    assert len(dataset.split("val")) == 2 and len(dataset.split("train")) + len(dataset.split("test")) == 8
    assert agrees(dataset) and any("3 pictures are in no list" in note for note in dataset.notes)

    for path in lists.iterdir():
        path.unlink()
    lists.rmdir()
    (root / "ImageSets").rmdir()
    (root / "classes.txt").unlink()
    alone = opened(tmp_path / "VOCdevkit")
    assert len(alone.labels) == 21 and any("left out 1 pictures that have no mask" in note for note in alone.notes)


def test_camvid_with_folders_beside_each_other_and_a_table_of_colours(tmp_path: Path) -> None:
    colours = np.array([[128, 128, 128], [64, 0, 128]], np.uint8)
    for part, count in (("train", 6), ("val", 3), ("test", 3)):
        write(
            tmp_path, f"{part}_labels", part, "0001TP_{:06d}", "0001TP_{:06d}_L", count,
            lambda ids: PIL.fromarray(colours[ids]), None,
        )  # fmt: skip
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nSky,128,128,128\nCar,64,0,128\n")
    dataset = opened(tmp_path)
    assert dataset.labels == ("Sky", "Car") and agrees(dataset)
    assert {name: len(dataset.split(name)) for name in dataset.splits} == {"train": 6, "val": 3, "test": 3}


def test_ade20k_by_its_table(tmp_path: Path) -> None:
    root = write(tmp_path / "d", "annotations/x", "images/x", store=lambda ids: PIL.fromarray(ids + 1), classes=None)
    for kind in ("images", "annotations"):
        (root / kind / "x").rename(root / kind / "training")
    (root / "objectInfo150.txt").write_text(
        "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.5\t9\t9\t1\twall\n2\t0.1\t9\t9\t1\tbuilding, edifice\n"
    )
    dataset = opened(root)
    assert dataset.labels == ("wall", "building") and agrees(dataset)


def test_masks_of_stored_pixels_are_turned_with_the_picture(tmp_path: Path) -> None:
    root = write(tmp_path)
    tags = PIL.Exif()
    tags[picture_file.ORIENTATION] = 6
    for path in (root / "images").iterdir():
        PIL.fromarray(np.asarray(PIL.open(path))).save(path, exif=tags)
    dataset = opened(root)
    assert dataset.split("train").raw(0).shape[:2] == (32, 24)
    assert agrees(dataset) and any("masks were turned along" in note for note in dataset.notes)
