"""Reading pictures and making tensors of them."""

from __future__ import annotations

import math
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft.core.errors import BundleError, DataError, Missing, RecipeError
from edgeft.inputs import image
from edgeft.tasks.classify import decoding as classify

SPEC: dict[str, Any] = {
    "kind": "image",
    "size": [4, 6],
    "channels": 3,
    "resize": "bilinear",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "scale": 255.0,
    "layout": "NCHW",
    "input": "x",
}


@pytest.fixture
def pillow() -> Any:
    return pytest.importorskip("PIL.Image", reason="pillow reads images")


# --- preprocess ---


def test_preprocess_is_the_formula() -> None:
    raw = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    (x,) = image.preprocess(raw, SPEC).values()
    exact = (raw.astype(np.float64) / 255 - SPEC["mean"]) / SPEC["std"]
    assert x.shape == (1, 3, 4, 6)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert np.abs(x[0].transpose(1, 2, 0) - exact).max() < 1e-6
    (y,) = image.preprocess(raw, {**SPEC, "layout": "NHWC"}).values()
    assert np.array_equal(y[0], x[0].transpose(1, 2, 0))


def test_the_right_size_needs_no_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    image.preprocess(np.zeros((4, 6, 3), np.uint8), SPEC)
    with pytest.raises(Missing, match=r"\[image\]"):
        image.preprocess(np.zeros((4, 7, 3), np.uint8), SPEC)
    with pytest.raises(Missing, match=r"\[image\]"):
        image.read(__file__)


def test_gray_and_colour(pillow: Any) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)
    gray = {**SPEC, "channels": 1, "mean": [0.0], "std": [1.0], "scale": 1.0}
    luma = image.preprocess(colour, gray)["x"][0, 0]
    assert np.array_equal(luma, np.asarray(pillow.fromarray(colour).convert("L")))
    repeated = image.preprocess(colour[:, :, 0], {**SPEC, "mean": [0.0] * 3, "std": [1.0] * 3})["x"]
    assert np.array_equal(repeated[0, 0], repeated[0, 2])
    opaque = np.dstack([colour, np.full((4, 6), 9, np.uint8)])
    assert np.array_equal(image.preprocess(opaque, SPEC)["x"], image.preprocess(colour, SPEC)["x"])


def test_resize_is_antialiased(pillow: Any) -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    small = image.resize(board, (8, 8), "bilinear")
    assert abs(small.astype(int) - 128).max() <= 2
    assert set(np.unique(image.resize(board, (8, 8), "nearest"))) <= {0, 255}


@pytest.mark.parametrize(
    "raw",
    [
        np.zeros((4, 6, 3), np.float32),
        np.zeros((4,), np.uint8),
        np.zeros((4, 6, 5), np.uint8),
        np.zeros((0, 6), np.uint8),
        np.zeros((1, 4, 6, 3), np.uint8),
    ],
)
def test_pixels_of_another_kind(raw: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected uint8"):
        image.preprocess(raw, SPEC)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "sound"),
        ("size", [0, 6]),
        ("size", [4]),
        ("size", [4.0, 6]),
        ("size", [10**9, 6]),
        ("channels", 2),
        ("channels", True),
        ("resize", "lanczos"),
        ("mean", [0.5]),
        ("mean", [0.5, 0.5, math.nan]),
        ("mean", "abc"),
        ("std", [1.0, 0.0, 1.0]),
        ("std", [1.0, math.inf, 1.0]),
        ("scale", 0),
        ("scale", "255"),
        ("layout", "CHW"),
        ("input", ""),
    ],
)
def test_a_spec_that_cannot_be_followed_names_its_key(key: str, value: object) -> None:
    with pytest.raises(BundleError, match=f"preprocess.{key}"):
        image.check({**SPEC, key: value})


@pytest.mark.parametrize("key", list(SPEC))
def test_a_missing_key(key: str) -> None:
    with pytest.raises(BundleError, match=f"preprocess.{key}.*missing"):
        image.check({k: v for k, v in SPEC.items() if k != key})


def test_a_misspelt_key() -> None:
    with pytest.raises(BundleError, match="did you mean 'mean'"):
        image.check({**SPEC, "meen": 1})


# --- read ---


def test_orientation_of_the_camera_is_applied(tmp_path: Path, pillow: Any) -> None:
    left = np.zeros((10, 20, 3), np.uint8)
    left[:, :10] = 255
    turned = pillow.Exif()
    turned[0x0112] = 3  # upside down
    pillow.fromarray(left).save(tmp_path / "a.png", exif=turned)
    read = image.read(tmp_path / "a.png")
    assert read[5, 15, 0] == 255
    assert read[5, 5, 0] == 0


@pytest.mark.parametrize(
    ("mode", "suffix", "shape"),
    [
        ("1", "png", (5, 7)),
        ("L", "png", (5, 7)),
        ("LA", "png", (5, 7)),
        ("P", "png", (5, 7, 3)),
        ("RGB", "bmp", (5, 7, 3)),
        ("RGBA", "png", (5, 7, 3)),
        ("CMYK", "jpg", (5, 7, 3)),
        ("L", "jpg", (5, 7)),
        ("RGB", "webp", (5, 7, 3)),
        ("RGB", "tiff", (5, 7, 3)),
        ("L", "pgm", (5, 7)),
    ],
)
def test_every_mode_becomes_gray_or_colour(
    tmp_path: Path, pillow: Any, mode: str, suffix: str, shape: tuple[int, ...]
) -> None:
    path = tmp_path / f"a.{suffix}"
    plain = pillow.new("RGB", (7, 5), (200, 200, 200))
    (plain.quantize(4) if mode == "P" else plain.convert(mode)).save(path)
    read = image.read(path)
    assert read.shape == shape
    assert read.dtype == np.uint8
    assert mode == "1" or abs(read.astype(int) - 200).max() <= 3


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_keep_the_upper_byte(tmp_path: Path, pillow: Any, suffix: str) -> None:
    wide = np.linspace(0, 65535, 35).astype(np.uint16).reshape(5, 7)
    pillow.fromarray(wide).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(image.read(tmp_path / f"a.{suffix}"), (wide >> 8).astype(np.uint8))


def test_pixels_of_unknown_range(tmp_path: Path, pillow: Any) -> None:
    pillow.fromarray(np.zeros((5, 7), np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match="floating point"):
        image.read(tmp_path / "a.tiff")
    pillow.fromarray(np.full((5, 7), 70_000, np.int32)).save(tmp_path / "b.tiff")
    with pytest.raises(DataError, match="16 bits"):
        image.read(tmp_path / "b.tiff")
    assert (image.read(tmp_path / "b.tiff", {"value_range": [0, 140_000]}) == 128).all()
    assert (image.read(tmp_path / "a.tiff", {"value_range": [-1.0, 1.0]}) == 128).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp", "tiff"])
def test_truncated_files_are_named(tmp_path: Path, pillow: Any, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / f"a.{suffix}"
    pillow.fromarray(noise).save(path)
    data = path.read_bytes()
    for part in (0, 10, len(data) // 2):
        path.write_bytes(data[:part])
        with pytest.raises(DataError, match=f"a.{suffix}"):
            image.read(path)


def test_what_is_no_image(tmp_path: Path, pillow: Any) -> None:
    (tmp_path / "a.png").write_text("no image")
    (tmp_path / "b.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("a.png", "b.eps", "absent.png", "pipe.png", "."):
        with pytest.raises(DataError):
            image.read(tmp_path / name)


def test_a_small_file_of_many_pixels_is_not_decoded(tmp_path: Path, pillow: Any) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(DataError, match=r"bomb.png.*pixels"):
        image.read(tmp_path / "bomb.png")
    pillow.new("L", (10, 10)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"(?s)has 10x10 pixels, more than 99 .*data\.max_pixels = 100"):
        image.read(tmp_path / "a.png", {"max_pixels": 99})
    assert image.read(tmp_path / "a.png", {"max_pixels": 100}).shape == (10, 10)


def test_arrays_are_read_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    raw = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.save(tmp_path / "a.npy", raw)
    assert np.array_equal(classify.read(str(tmp_path / "a.npy")), raw)
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object))
    np.save(tmp_path / "c.npy", np.zeros((5, 7)))
    (tmp_path / "d.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-20])
    (tmp_path / "e.npy").write_bytes(b"")
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 3), }"
    (tmp_path / "f.npy").write_bytes(header.ljust(127) + b"\n")
    for name in "bcdef":
        with pytest.raises(DataError, match=f"{name}.npy"):
            image.read(tmp_path / f"{name}.npy")


def test_pictures_that_are_much_enlarged_are_told_of_with_a_size() -> None:
    from edgeft.config.recipe import Data
    from edgeft.models.built import image_spec

    def said(size: int = 0, typical: tuple[int, int] = (28, 28), default: int = 224) -> list[str]:
        words: list[str] = []
        facts = {"picture_size": typical}
        spec = image.configure(
            Data(size=size), {**image_spec((default, default)), "pretrained": True}, facts, words.append
        )
        assert spec["size"] == [size or default] * 2
        return words

    (hint,) = said()
    assert "28x28" in hint and "224x224" in hint and "--set data.size=64" in hint and "8 %" in hint
    assert said(size=64) == said(typical=(200, 300)) == said(default=32) == []


def test_a_normalization_beside_a_model_that_scales_pixels_itself_is_warned_about() -> None:
    from edgeft.config.recipe import Data
    from edgeft.models.built import image_spec

    defaults = image_spec((8, 8), 3, (0.0,) * 3, (1 / 255,) * 3) | {"pretrained": False}
    said: list[str] = []
    image.configure(Data(mean=(0.5,), std=(0.5,)), defaults, {}, said.append)
    assert len(said) == 2 and all("scales them itself" in line for line in said)
    image.configure(Data(), defaults, {}, said.append)
    image.configure(Data(mean=(0.5,), std=(0.5,)), image_spec((8, 8)), {}, said.append)
    assert len(said) == 2
    with pytest.raises(RecipeError, match="2 values for 3 channels"):
        image.configure(Data(mean=(0.5, 0.5), std=(0.5, 0.5)), defaults, {}, said.append)
