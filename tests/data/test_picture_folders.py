"""Folders of pictures as they are: clutter, links, files that are no pictures, and pictures of 12 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeft import data, tasks
from edgeft.bundle.manifest import recorded
from edgeft.config.recipe import Data
from edgeft.models.built import image_spec

PIL = pytest.importorskip("PIL.Image", reason="pictures are read by pillow")


def write(root: Path, count: int = 8, suffix: str = "png") -> Path:
    """Class folders cat and dog, of which one is dark and one is bright."""
    rng = np.random.default_rng(0)
    for number, label in enumerate(("cat", "dog")):
        (root / label).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(40 + 120 * number, 100 + 120 * number, (12, 16, 3)).astype(np.uint8)
            PIL.fromarray(pixels).save(root / label / f"{i}.{suffix}")
    return root


def opened(root: Path) -> data.Dataset:
    return data.open(Data(format="image-folder", path=str(root)), "classify")


def test_hidden_folders_are_no_data_and_what_is_not_read_is_named(tmp_path: Path) -> None:
    root = write(tmp_path)
    whole = data.fingerprint(opened(root))
    cat = root / "cat"
    (cat / ".ipynb_checkpoints").mkdir()
    (cat / ".ipynb_checkpoints" / "0-checkpoint.png").write_bytes((cat / "0.png").read_bytes())
    (root / "__MACOSX" / "cat").mkdir(parents=True)
    for name in ("cat/Thumbs.db", "cat/.DS_Store", "cat/._0.png", "__MACOSX/cat/._0.png"):
        (root / name).write_bytes(b"x")
    tidy = opened(root)
    assert data.fingerprint(tidy) == whole and tidy.labels == ("cat", "dog")
    assert not [note for note in tidy.notes if "not read" in note]

    (cat / "notes.txt").write_text("two of these are kittens")
    (cat / "clip.mp4").write_bytes(b"x")
    (cat / "9.png").symlink_to(root / "absent.png")
    (root / "loose.png").write_bytes((cat / "0.png").read_bytes())
    notes = " ".join(opened(root).notes)
    assert "2 files are not read" in notes and f"1 .mp4 ({cat / 'clip.mp4'})" in notes
    assert f"1 links lead to files that do not exist, and are left out: {cat / '9.png'}" in notes
    assert f"1 pictures lie outside of class folders and are not read, for example {root / 'loose.png'}" in notes
    assert data.fingerprint(opened(root)) == whole


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    write(tmp_path / "more", 3)
    (root / "cat" / "more").symlink_to(tmp_path / "more" / "cat")
    (root / "cat" / "back").symlink_to(root / "cat")
    assert sum(map(len, opened(root).splits.values())) == 8 + 8 + 3


def test_pictures_of_twelve_bits_keep_their_contrast(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number, label in enumerate("ab"):
        (tmp_path / label).mkdir()
        for i in range(8):
            values = rng.integers(1200 + 1200 * number, 1500 + 1200 * number, (10, 10)).astype(np.uint16)
            PIL.fromarray(values).save(tmp_path / label / f"{i}.png")
    dataset = opened(tmp_path)
    (note,) = [note for note in dataset.notes if "12-bit" in note]
    assert "data.value_range" in note and dataset.facts["value_range"] == [0.0, 4095.0]
    means = [float(dataset.split("train").raw(i).mean()) for i in range(len(dataset.split("train")))]
    assert 70 < min(means) < 90 and 150 < max(means) < 170

    stated = data.open(Data(format="image-folder", path=str(tmp_path), value_range=(1000.0, 3000.0)), "classify")
    assert not [note for note in stated.notes if "bit" in note]
    assert int(stated.split("train").raw(0).min()) >= 25

    spec = tasks.get("classify").configure(
        Data(size=10), {**image_spec((10, 10), 3), "pretrained": False}, dataset.facts, print
    )
    path = tmp_path / "b" / "0.png"
    assert spec["value_range"] == [0.0, 4095.0]
    assert 150 < tasks.get("classify").read(str(path), spec).mean() < 170


def test_data_named_later_are_read_with_the_range_of_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for label, value in (("a", 500), ("b", 1000)):
        for i in range(5):
            PIL.fromarray(np.full((6, 6), value + i, np.uint16)).save(tmp_path / label / f"{i}.png")
    table = {"data": {"format": "image-folder", "path": "elsewhere", "split": [0.7, 0.15, 0.15]}}
    bundle = {"provenance": {"recipe": table}, "preprocess": {"value_range": [0.0, 4095.0]}}
    later = data.open(data.source(tmp_path, recorded(bundle, "data")))
    assert later.split("train").raw(0).max() == round(500 * 255 / 4095)
    assert opened(tmp_path).split("train").raw(0).max() == round(500 * 255 / 1023), "ten bits by themselves"


@pytest.mark.parametrize(
    ("pictures", "masks"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("train/images/{}.png", "train/labels/{}.png"),
        ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
        ("leftImg8bit/train/x/{}_leftImg8bit.png", "gtFine/train/x/{}_gtFine_labelIds.png"),
        ("scans/{}.jpg", "scans/{}_mask.png"),
        ("photos/{}.jpg", "photos_masks/{}.png"),
    ],
)
def test_masks_are_no_pictures_to_quantize_with(pictures: str, masks: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(6):
        for form in (pictures, masks):
            path = tmp_path / form.format(i)
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(path)
    spec = Data(format="pictures", path=str(tmp_path), options={"classes": 2, "names": ""})
    opened_data = data.open(spec, "classify")
    splits = opened_data.splits
    sources = {splits[name].source(i) for name in splits for i in range(len(splits[name]))}
    assert sources == {str(tmp_path / pictures.format(i)) for i in range(6)}
    assert any("masks of other pictures" in note for note in opened_data.notes)
    assert opened_data.facts["unlabelled"], "images/ and masks/ are no classes"


def test_a_class_of_masks_stays_a_class(tmp_path: Path) -> None:
    root = tmp_path / "faces"
    write(root)
    (root / "cat").rename(root / "mask")
    (root / "dog").rename(root / "no_mask")
    opened_data = data.open(Data(format="pictures", path=str(root), options={"classes": 2, "names": ""}), "classify")
    assert sum(map(len, opened_data.splits.values())) == 16 and opened_data.labels == ("mask", "no_mask")
