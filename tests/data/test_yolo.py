"""YOLO's text format: layouts, names, and every wrong line named by file and number."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scenes

from edgeft import data
from edgeft.config import recipe
from edgeft.core.errors import DataError

pytest.importorskip("PIL", reason="pictures are read by pillow")


def opened(root: Path) -> data.Dataset:
    return data.open(recipe.Data(format="yolo", path=str(root)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return scenes.write_yolo(tmp_path / "data", {"train": 30, "val": 4, "test": 4})


def test_pictures_and_boxes_as_they_were_drawn(root: Path) -> None:
    made = opened(root)
    assert made.labels == ("disc", "bar") and {k: len(v) for k, v in made.splits.items()} == {
        "train": 30,
        "val": 4,
        "test": 4,
    }
    rng = np.random.default_rng(0)
    for i in range(5):
        pixels, boxes = scenes.scene(rng)
        split = made.split("train")
        np.testing.assert_array_equal(split.raw(i), pixels)
        target = split.targets[i]
        assert target["classes"].tolist() == [b[0] for b in boxes] and target["size"].tolist() == [60, 100]
        np.testing.assert_allclose(target["boxes"], [b[1:] for b in boxes], atol=1e-3)
    assert data.check(made) == made.notes
    assert data.fingerprint(made) == data.fingerprint(opened(root))


def test_the_other_layouts(root: Path, tmp_path: Path) -> None:
    first = opened(root)
    turned, beside = tmp_path / "turned", tmp_path / "beside"
    for part in ("train", "val", "test"):
        shutil.copytree(root / "images" / part, turned / part / "images")
        shutil.copytree(root / "labels" / part, turned / part / "labels")
        shutil.copytree(root / "images" / part, beside / part)
        shutil.copytree(root / "labels" / part, beside / part, dirs_exist_ok=True)
    (turned / "classes.txt").write_text("disc\nbar\n")
    (beside / "names.yaml").write_text("nc: 2\nnames: ['disc', \"bar\"]  # two\n")
    for other in (opened(turned), opened(beside)):
        assert other.labels == first.labels and data.fingerprint(other) == data.fingerprint(first)


def test_names_in_a_list_below_and_none_at_all(root: Path) -> None:
    (root / "data.yaml").write_text("names:\n- disc\n- bar\ntrain: images/train\n")
    assert opened(root).labels == ("disc", "bar")
    (root / "data.yaml").unlink()
    assert opened(root).labels == ("0", "1")
    (root / "data.yaml").write_text("# names of the classes\nnames:\n  0: disc\n  2: bar\n")
    with pytest.raises(DataError, match="numbered") as caught:
        opened(root)
    assert caught.value.where.endswith("data.yaml:2")


def test_missing_splits_are_taken_in_stretches_by_name(tmp_path: Path) -> None:
    root = scenes.write_yolo(tmp_path / "data", {"train": 40})
    for i in range(40):  # frame_9 stands before frame_10
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            (root / kind / "train" / f"{i:04}.{suffix}").rename(root / kind / "train" / f"frame_{i}.{suffix}")
    made = opened(root)
    assert sum(len(s) for s in made.splits.values()) == 40 and "stretches" in made.notes[0]
    for split in made.splits.values():
        numbers = [int(Path(split.source(i)).stem.split("_")[1]) for i in range(len(split))]
        assert {n // 2 for n in numbers} == {n // 2 for n in numbers if n ^ 1 in numbers}, "a stretch was parted"


WRONG = {
    "0 0.5 0.5 0.2": "4 values",
    "0 0.5 0.5 0.2 0.2 0.3": "6 values",
    "0 0.1 0.1 0.2 0.2 0.3 0.3 0.4": "8 values, expected five",
    "0 0.5 half 0.2 0.2": "could not convert",
    "0 0.5 nan 0.2 0.2": "not finite",
    "2 0.5 0.5 0.2 0.2": "class 2 is out of range: 0 to 1",
    "-1 0.5 0.5 0.2 0.2": "out of range",
    "0.5 0.5 0.5 0.2 0.2": "out of range",
    "0 0.5 0.5 0.0 0.2": "no area",
    "0 0.5 0.5 0.2 -0.2": "no area",
    "0 0.95 0.5 0.2 0.2": "reaches outside",
    "0 1.5 0.5 0.2 0.2": "reaches outside",
    "0 320 200 40 40": "are these pixels",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_named_and_its_picture_left_out(root: Path, line: str) -> None:
    file = root / "labels" / "train" / "0007.txt"
    file.write_text("0 0.5 0.5 0.2 0.2\n" + line + "\n")
    made = opened(root)
    assert len(made.split("train")) == 29
    (note,) = made.notes
    assert f"{file}:2: " in note and WRONG[line] in note and "1 of 30" in note
    for i in (8, 9):
        (root / "labels" / "train" / f"000{i}.txt").write_text(line)
    with pytest.raises(DataError, match="3 of 30 pictures") as caught:
        opened(root)
    assert caught.value.where == f"{file}:2" and caught.value.exit_code == 3


def test_a_rounded_box_at_the_edge_is_cut_and_a_double_one_counts_once(root: Path) -> None:
    (root / "labels" / "val" / "0000.txt").write_text("0 0.1 0.5 0.202 0.4\n" * 2)
    made = opened(root)
    assert made.split("val").targets[0]["boxes"].tolist() == [[0, 18, pytest.approx(20.1, abs=1e-3), 42]]
    assert made.notes == ["val: 1 boxes occur twice and count once"]


def test_empty_and_absent_texts_are_pictures_without_objects(root: Path) -> None:
    (root / "labels" / "train" / "0003.txt").write_text("\n")
    (root / "labels" / "train" / "0005.txt").unlink()
    made = opened(root)
    assert len(made.split("train")) == 30 and made.split("train").targets[3]["boxes"].shape == (0, 4)
    assert "2 of 30 pictures have no boxes" in made.notes[0] and "0003.txt (empty)" in made.notes[0]
    shutil.rmtree(root / "labels")
    with pytest.raises(DataError, match=r"not one box.*absent"):
        opened(root)


def test_truncated_pictures_are_named(root: Path) -> None:
    from PIL import Image

    first = root / "images" / "train" / "0001.jpg"
    Image.open(first.with_suffix(".png")).save(first)
    first.with_suffix(".png").unlink()
    first.write_bytes(first.read_bytes()[:-400])  # the header says all is well
    made = opened(root)
    assert len(made.split("train")) == 29 and str(first) in made.notes[-1]
    for i in (2, 3):
        (root / "images" / "train" / f"000{i}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="2 of 30 pictures"):
        opened(root)


def test_a_camera_that_was_held_upright(root: Path) -> None:
    from PIL import Image

    pixels = np.zeros((40, 80, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(root / "images" / "val" / "0000.jpg", exif=exif)
    (root / "images" / "val" / "0000.png").unlink()
    split = opened(root).split("val")
    assert split.raw(0).shape == (80, 40, 3) and split.targets[0]["size"].tolist() == [80, 40]


def test_absent_and_empty_folders(tmp_path: Path) -> None:
    for path in ("", str(tmp_path / "absent")):
        with pytest.raises(DataError, match="folder"):
            data.open(recipe.Data(format="yolo", path=path))
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        opened(tmp_path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(16_000, 15_000), (12_000, 9000)])
def test_a_picture_of_too_many_pixels_is_left_out_and_named(root: Path, size: tuple[int, int]) -> None:
    from PIL import Image

    file = root / "images" / "train" / "0007.png"
    Image.new("1", size).save(file)
    made = opened(root)
    assert len(made.split("train")) == 29
    (note,) = made.notes
    assert str(file) in note and "1 of 30" in note and "89478485" in note
