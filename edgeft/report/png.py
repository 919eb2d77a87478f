"""Pixels to a PNG file's bytes with zlib alone, so that a page with samples needs no image library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

_COLOUR_TYPE = {1: 0, 3: 2, 4: 6}  # channels -> grey, RGB, RGBA


def encode(image: np.ndarray) -> bytes:
    """PNG (8 bit) of uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Raises `ValueError` on another shape or dtype. Format: PNG specification, third edition, chunks IHDR, IDAT, IEND.
    """
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]

    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in _COLOUR_TYPE or not pixels.size:
        raise ValueError(f"not an image of uint8 pixels: shape {np.shape(image)}, dtype {np.asarray(image).dtype}")

    height, width, channels = pixels.shape
    rows = np.ascontiguousarray(pixels).reshape(height, width * channels)
    # Filter 2 ("up") stores the difference to the row above: photographs compress a third better than unfiltered.
    above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.concatenate([np.full((height, 1), 2, np.uint8), rows - above], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)

    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 9)),
            _chunk(b"IEND", b""),
        ]
    )


def data_uri(image: np.ndarray, longest: int = 224) -> str:
    """`encode` as a data URI; pixels are skipped evenly until the longest side is at most `longest`."""
    pixels = np.asarray(image)
    stride = -(-max(pixels.shape[:2]) // longest)
    return "data:image/png;base64," + base64.b64encode(encode(pixels[::stride, ::stride])).decode("ascii")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
