"""The PNG encoder against an independent reader of the format."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeft.report import png


def decode(data: bytes) -> np.ndarray:
    """8-bit PNG, filters 0 and 2 only, straight from the specification; checks every checksum."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, chunks = 8, {}
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind], place = body, place + 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    channels = {0: 1, 2: 3, 6: 4}[colour]
    raw = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * channels)
    rows = np.zeros((height, width * channels), np.uint8)
    for y in range(height):
        assert raw[y, 0] in (0, 2)
        rows[y] = raw[y, 1:] + (rows[y - 1] if raw[y, 0] == 2 and y else 0)
    return rows.reshape(height, width, channels)


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]))


@draws(60)
@given(shapes.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_pixels_come_back(image: np.ndarray) -> None:
    assert np.array_equal(decode(png.encode(image)), image)


def test_an_image_library_reads_it() -> None:
    image_library = pytest.importorskip("PIL.Image", reason="pillow is the second reader")
    image = np.random.default_rng(0).integers(0, 256, (13, 7, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(image_library.open(io.BytesIO(png.encode(image)))), image)
    assert np.array_equal(np.asarray(image_library.open(io.BytesIO(png.encode(image[..., 0])))), image[..., 0])


def test_a_large_picture_is_thinned() -> None:
    uri = png.data_uri(np.zeros((1000, 300, 3), np.uint8), longest=100)
    assert decode(base64.b64decode(uri.removeprefix("data:image/png;base64,"))).shape == (100, 30, 3)


@pytest.mark.parametrize(
    "image",
    [np.zeros((2, 2), np.float32), np.zeros((2, 2, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 4), np.uint8)],
)
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="not an image"):
        png.encode(image)
