"""Lines of YOLO label files that are more than a box, and pictures that are turned or too large."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import scenes

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError

PIL = pytest.importorskip("PIL.Image", reason="pictures are read by pillow")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return scenes.write_yolo(tmp_path / "data", {"train": 25, "val": 4, "test": 4})


def opened(root: Path, **keys: int) -> data.Dataset:
    return data.open(Data(format="yolo", path=str(root), **keys), "detect")


def rewrite(root: Path, behind: str = "", outline: bool = False) -> None:
    """Every label line with `behind` at its end, or as an outline of four points."""
    for path in (root / "labels").rglob("*.txt"):
        lines = []
        for line in path.read_text().splitlines():
            kind, cx, cy, w, h = line.split()
            x1, x2 = float(cx) - float(w) / 2, float(cx) + float(w) / 2
            y1, y2 = float(cy) - float(h) / 2, float(cy) + float(h) / 2
            points = f"{kind} {x1} {y1} {x2} {y1} {x2} {y2} {x1} {y2}"
            lines.append(points if outline else f"{line} {behind.format(cx=cx, cy=cy)}")
        path.write_text("\n".join(lines))


def test_outlines_become_the_boxes_around_them(root: Path) -> None:
    boxes = opened(root)
    rewrite(root, outline=True)
    outlines = opened(root)
    for part in ("train", "val", "test"):
        for a, b in zip(boxes.split(part).targets, outlines.split(part).targets):
            np.testing.assert_allclose(a["boxes"], b["boxes"], atol=1e-3)
    (note,) = outlines.notes
    assert "objects are outlines" in note and "upright boxes around them" in note and ".txt:1" in note


def test_key_points_are_left_out_where_data_yaml_names_them(root: Path) -> None:
    whole = data.fingerprint(opened(root))
    rewrite(root, behind="{cx} {cy} 2 {cx} {cy} 0")
    with pytest.raises(DataError, match="state kpt_shape"):
        opened(root)
    with (root / "data.yaml").open("a") as file:
        file.write("kpt_shape: [2, 3]\n")
    poses = opened(root)
    assert data.fingerprint(poses) == whole
    assert "objects have key points, which are not read" in poses.notes[0]

    text = (root / "data.yaml").read_text()
    (root / "data.yaml").write_text(text.replace("[2, 3]", "[3, 3]"))
    with pytest.raises(DataError, match="of kpt_shape has 14"):
        opened(root)
    (root / "data.yaml").write_text(text.replace("[2, 3]", "[2]"))
    with pytest.raises(DataError, match="kpt_shape is not"):
        opened(root)


def test_labels_with_a_byte_order_mark(root: Path) -> None:
    whole = data.fingerprint(opened(root))
    for path in (root / "labels").rglob("*.txt"):
        path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
    assert data.fingerprint(opened(root)) == whole


def test_boxes_of_turned_tiff_files_lie_on_their_objects(root: Path) -> None:
    tags = PIL.Exif()
    tags[0x0112] = 6
    for path in (root / "images").rglob("*.png"):
        PIL.fromarray(np.rot90(np.asarray(PIL.open(path)))).save(path.with_suffix(".tif"), exif=tags)
        path.unlink()
    dataset = opened(root)
    split = dataset.split("train")
    for i in range(len(split)):
        raw, target = split.raw(i), split.targets[i]
        assert raw.shape[:2] == tuple(target["size"]) == (60, 100)
        for kind, (x1, y1, x2, y2) in zip(target["classes"], target["boxes"]):
            pixel = raw[int(y1 + y2) // 2, int(x1 + x2) // 2].astype(int)
            assert pixel[0] - pixel[2] > 60 if kind == 0 else pixel[2] - pixel[0] > 60


def bomb(path: Path, side: int) -> None:
    """A PNG of a few bytes whose header promises side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [10_400, 16_000])
def test_pictures_of_too_many_pixels_are_left_out_with_the_key_that_raises_the_limit(root: Path, side: int) -> None:
    bomb(root / "images" / "train" / "big.png", side)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (note,) = [note for note in opened(root).notes if "big.png" in note]
    assert (
        "1 of 26 pictures cannot be used" in note and "89478485" in note and f"data.max_pixels = {side * side}" in note
    )
    raised = opened(root, max_pixels=side * side)
    assert not [note for note in raised.notes if "max_pixels" in note]


def test_the_limit_is_lowered_by_the_same_key(root: Path) -> None:
    with pytest.raises(DataError, match="100x60 pixels, more than 5999"):
        opened(root, max_pixels=5999)
    assert len(opened(root, max_pixels=6000).split("train")) == 25
