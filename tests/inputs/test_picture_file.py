"""Picture files: formats, orientation by header and by pixels, and ranges of values; run.py reads the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft.bundle import run_py
from edgeft.core import installation
from edgeft.core.errors import DataError
from edgeft.inputs import picture_file

PIL = pytest.importorskip("PIL.Image", reason="pictures are read by pillow")


def runner(tmp_path: Path) -> Any:
    """The reading half of a bundle's run.py."""
    code = run_py.text("onnxruntime", "image", "classify").replace("sys.path[:] =", "_ =")
    names: dict[str, Any] = {"__name__": "runner", "__file__": str(tmp_path / "run.py")}
    exec(compile(code, "run.py", "exec"), names)
    return names


def corner() -> np.ndarray:
    """A gray picture of 40 rows and 60 columns whose upper left quarter is white."""
    pixels = np.full((40, 60, 3), 40, np.uint8)
    pixels[:20, :30] = 250
    return pixels


@pytest.mark.parametrize("suffix", ["jpg", "tif", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_says_the_size_that_is_read(tmp_path: Path, suffix: str, orientation: int) -> None:
    tags = PIL.Exif()
    tags[picture_file.ORIENTATION] = orientation
    path = tmp_path / f"a.{suffix}"
    PIL.fromarray(corner()).save(path, exif=tags)
    header, raw = picture_file.header(path), picture_file.read(path)
    assert header.size == raw.shape[:2] == ((60, 40) if orientation >= 5 else (40, 60))
    assert header.stored == (40, 60) and header.orientation == orientation
    assert np.array_equal(runner(tmp_path)["read"](str(path), {}), raw)


def test_values_of_more_than_8_bits_are_scaled_by_their_range(tmp_path: Path) -> None:
    values = np.linspace(0, 4095, 35).astype(np.uint16).reshape(5, 7)
    PIL.fromarray(values).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", values.astype(np.float32))
    spec = {"value_range": [0.0, 4095.0]}
    expected = np.rint(values * 255.0 / 4095).astype(np.uint8)
    reading = runner(tmp_path)["read"]
    for name in ("a.png", "b.npy"):
        assert np.array_equal(picture_file.read(tmp_path / name, spec), expected)
        assert np.array_equal(reading(str(tmp_path / name), spec), expected)
    clipped = picture_file.read(tmp_path / "a.png", {"value_range": [1000, 2000]})
    assert clipped.min() == 0 and clipped.max() == 255
    with pytest.raises(DataError, match=r"data\.value_range"):
        picture_file.read(tmp_path / "b.npy")


def test_what_is_read_counts_and_not_how_the_file_is_called(tmp_path: Path) -> None:
    PIL.fromarray(corner()).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.jfif")
    assert picture_file.read(tmp_path / "a.jfif").shape == (40, 60, 3)
    PIL.init()
    if "AVIF" in PIL.SAVE:
        PIL.fromarray(corner()).save(tmp_path / "b.avif")
        for raw in (picture_file.read(tmp_path / "b.avif"), runner(tmp_path)["read"](str(tmp_path / "b.avif"), {})):
            assert raw.shape == (40, 60, 3) and raw[5, 5, 0] > 230 > 60 > raw[30, 50, 0]


def test_heic_of_a_phone(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="HEIC is read by pillow-heif")
    heif.from_pillow(PIL.fromarray(corner())).save(tmp_path / "IMG_1.HEIC")
    raw = picture_file.read(tmp_path / "IMG_1.HEIC")
    assert raw.shape == (40, 60, 3) and raw[5, 5, 0] > 230 > 60 > raw[30, 50, 0]
    assert picture_file.header(tmp_path / "IMG_1.HEIC").size == (40, 60)
    assert np.array_equal(runner(tmp_path)["read"](str(tmp_path / "IMG_1.HEIC"), {}), raw)


def test_heic_without_pillow_heif_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from edgeft.core.errors import Missing

    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"x" * 200)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(Missing) as caught:
        picture_file.read(tmp_path / "a.heic")
    assert installation.command("heif") == caught.value.remedy
    reading = runner(tmp_path)
    with pytest.raises(reading["Stop"], match="pip install pillow-heif"):
        reading["read"](str(tmp_path / "a.heic"), {})


def test_more_pixels_than_the_limit_are_read_where_the_recipe_raises_it(tmp_path: Path) -> None:
    PIL.new("1", (1000, 500)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="max_pixels = 500000"):
        picture_file.header(tmp_path / "a.png", {"max_pixels": 499_999})
    reading = runner(tmp_path)
    with pytest.raises(reading["Stop"], match="1000x500"):
        reading["read"](str(tmp_path / "a.png"), {"max_pixels": 499_999})
    assert reading["read"](str(tmp_path / "a.png"), {"max_pixels": 500_000}).shape == (500, 1000)


def test_a_link_that_leads_nowhere_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "absent.png")
    with pytest.raises(DataError, match="link to a file that does not exist"):
        picture_file.read(tmp_path / "a.png")
