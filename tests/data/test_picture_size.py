"""The typical size of pictures, from their headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from edgeft.data import picture_size


def test_the_median_as_pictures_are_seen(tmp_path: Path) -> None:
    sizes = [(30, 40), (32, 48), (90, 64)]
    for i, (height, width) in enumerate(sizes):
        Image.new("L", (width, height)).save(tmp_path / f"{i}.png")
    paths = sorted(tmp_path.glob("*.png"))
    assert picture_size.typical(paths) == (32, 48)

    turned = Image.new("RGB", (48, 32))
    exif = turned.getexif()
    exif[274] = 6  # stored lying, seen standing
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert picture_size.typical([tmp_path / "turned.jpg"]) == (48, 32)

    np.save(tmp_path / "array.npy", np.zeros((7, 9, 3), np.uint8))
    assert picture_size.typical([tmp_path / "array.npy"]) == (7, 9)


def test_what_cannot_be_read_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("L", (5, 4)).save(tmp_path / "good.png")
    assert picture_size.typical([tmp_path / "broken.png", tmp_path / "good.png", tmp_path / "absent.png"]) == (4, 5)
    assert picture_size.typical([tmp_path / "broken.png"]) is None and picture_size.typical([]) is None
