"""Splits by the names of folders: any case and every usual word, in each format of folders; none is ever merged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import mask_shapes
import numpy as np
import pytest
import scenes
import sounds

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.samples import split_named

Image = pytest.importorskip("PIL.Image", reason="pictures are read by pillow")

COUNTS = {"train": 12, "val": 4, "test": 6}
#: names of the folders of train, val and test
NAMES = [
    ("Train", "Validation", "Test"),
    ("train", "dev", "test"),
    ("TRAINING", "Valid", "testing"),
    ("train2017", "val2017", "test2017"),
]


def pictures(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (8, 10, 3), np.uint8)).save(folder / f"{i:03}.png")


def image_folder(root: Path) -> Data:
    for seed, (split, count) in enumerate(COUNTS.items()):
        for c, label in enumerate(("ant", "bee")):
            pictures(root / split / label, count // 2, 10 * seed + c)
    return Data(format="image-folder", path=str(root))


def wav_folder(root: Path) -> Data:
    sounds.write_folder(root, {split: count // 2 for split, count in COUNTS.items()})
    shutil.rmtree(root / "train" / "tone")
    for split in ("val", "test"):
        shutil.rmtree(root / split / "tone")
    return Data(format="wav-folder", path=str(root))


def sounds_by_name(root: Path) -> Data:
    spec = wav_folder(root)
    for path in list(root.rglob("*.wav")):
        path.rename(path.parent.parent / f"{path.parent.name}_{path.name}")
    return Data(format="wav-folder", path=spec.path, pattern="{label}_{take}")


def transcripts(root: Path) -> Data:
    sounds.write_sentences(root, COUNTS)
    return Data(format="wav-folder", path=str(root), units="words")


def masks(root: Path) -> Data:
    mask_shapes.write_folder(root, COUNTS)
    return Data(format="masks", path=str(root), masks={"void": "rim"})


def yolo(root: Path) -> Data:
    scenes.write_yolo(root, COUNTS)
    for split in COUNTS:
        (root / split).mkdir()
        for kind in ("images", "labels"):
            (root / kind / split).rename(root / split / kind)
    (root / "data.yaml").write_text("names: [disc, bar]\n")
    (root / "images").rmdir()
    return Data(format="yolo", path=str(root))


def coco(root: Path) -> Data:
    scenes.write_coco(root, COUNTS)
    for split in COUNTS:
        (root / "annotations" / f"instances_{split}.json").rename(root / split / "_annotations.coco.json")
    return Data(format="coco", path=str(root))


FORMATS = [image_folder, wav_folder, sounds_by_name, transcripts, masks, yolo, coco]


def counts(spec: Data) -> dict[str, int]:
    made = data.open(spec)
    assert not any("divided" in note for note in made.notes), made.notes
    return {name: len(made.split(name)) for name in made.splits}


def rename(root: Path, names: tuple[str, str, str]) -> None:
    for split, name in zip(COUNTS, names):
        (root / split).rename(root / f"_{name}")
        (root / f"_{name}").rename(root / name)


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[1])
@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_folders_of_splits_by_any_name(tmp_path: Path, write: Callable[[Path], Data], names: tuple[str, ...]) -> None:
    spec = write(tmp_path / "data")
    before = data.fingerprint(data.open(spec))
    rename(tmp_path / "data", names)  # type: ignore[arg-type]
    assert counts(spec) == COUNTS
    assert data.fingerprint(data.open(spec)) == before


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_a_split_folder_with_one_folder_of_its_name(tmp_path: Path, write: Callable[[Path], Data]) -> None:
    spec = write(tmp_path / "data")
    for split in ("train", "test"):
        (tmp_path / "data" / split).rename(tmp_path / "inner")
        (tmp_path / "data" / split).mkdir()
        (tmp_path / "inner").rename(tmp_path / "data" / split / split.capitalize())
    assert counts(spec) == COUNTS


def test_splits_inside_of_images_and_labels(tmp_path: Path) -> None:
    """Masks and boxes also come as images/SPLIT/ beside labels/SPLIT/."""
    spec = masks(tmp_path / "masks")
    for kind in ("images", "labels"):
        (tmp_path / "masks" / kind).mkdir()
        for split in COUNTS:
            (tmp_path / "masks" / split / kind).rename(tmp_path / "masks" / kind / split.upper())
    for split in COUNTS:
        (tmp_path / "masks" / split).rmdir()
    assert counts(spec) == COUNTS
    shutil.rmtree(tmp_path / "masks" / "labels" / "TEST")
    made = data.open(spec)
    assert any("TEST is left out" in note for note in made.notes), made.notes

    scenes.write_yolo(tmp_path / "boxes", COUNTS)
    for kind, name in (("images", "Images"), ("labels", "Labels")):
        for split in COUNTS:
            (tmp_path / "boxes" / kind / split).rename(tmp_path / "boxes" / kind / split.capitalize())
        (tmp_path / "boxes" / kind).rename(tmp_path / "boxes" / name)
    assert counts(Data(format="yolo", path=str(tmp_path / "boxes"))) == COUNTS


@pytest.mark.parametrize("write", [image_folder, wav_folder], ids=lambda write: write.__name__)
def test_splits_inside_of_each_class(tmp_path: Path, write: Callable[[Path], Data]) -> None:
    spec = write(tmp_path / "data")
    labels = [path.name for path in (tmp_path / "data" / "train").iterdir()]
    for split in COUNTS:
        for label in labels:
            (tmp_path / "data" / label).mkdir(exist_ok=True)
            (tmp_path / "data" / split / label).rename(tmp_path / "data" / label / split)
        (tmp_path / "data" / split).rmdir()
    assert counts(spec) == COUNTS and data.open(spec).labels == tuple(sorted(labels))
    (tmp_path / "data" / labels[0] / "train" / ("new.png" if write is image_folder else "new.wav")).write_bytes(b"")
    for split in COUNTS:
        for path in (tmp_path / "data" / labels[0] / split).iterdir():
            path.rename(tmp_path / "data" / labels[0] / f"{split}_{path.name}")
        (tmp_path / "data" / labels[0] / split).rmdir()
    with pytest.raises(DataError, match=f"{labels[1]}/ holds folders of splits, and {labels[0]}/ does not"):
        data.open(spec)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for seed, label in enumerate(("bus", "car", "train")):
        pictures(tmp_path / label, 20, seed)
    assert data.open(Data(path=str(tmp_path))).labels == ("bus", "car", "train")


def test_folders_that_are_not_read_are_told(tmp_path: Path) -> None:
    spec = image_folder(tmp_path / "data")
    pictures(tmp_path / "data" / "extra" / "ant", 3, 99)
    assert any("extra" in note and "not read" in note for note in data.open(spec).notes)


def test_two_folders_of_one_split_are_a_question(tmp_path: Path) -> None:
    spec = image_folder(tmp_path / "data")
    shutil.copytree(tmp_path / "data" / "val", tmp_path / "data" / "Dev")
    with pytest.raises(DataError, match="both Dev/ and val/ are there"):
        data.open(spec)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Train", "train"),
        ("TRAINING", "train"),
        ("dev", "val"),
        ("Validation", "val"),
        ("val2017", "val"),
        ("test-2019", "test"),
        ("trains", ""),
        ("test2", ""),
        ("2017", ""),
        ("", ""),
    ],
)
def test_words(name: str, split: str) -> None:
    assert split_named(name) == split
