"""Pixels, for all kinds of input that are pictures: the same arithmetic in the same order as edgeft/inputs/image.py."""

import numpy as np

from ..core.runner import Stop

RESIZE = {"nearest": 0, "bilinear": 2, "bicubic": 3}  # pillow's numbers


def pillow():
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise Stop(4, "decoding and resizing images needs pillow: pip install pillow") from None
    return Image, ImageOps


def channels_of(raw, channels):
    """uint8 (H, W) for one channel, (H, W, 3) for three."""
    if raw.ndim == 3 and raw.shape[2] < 3:
        raw = raw[:, :, 0]
    if channels == 3:
        return np.repeat(raw[:, :, None], 3, axis=2) if raw.ndim == 2 else raw[:, :, :3]
    if raw.ndim == 2:
        return raw
    wide = raw.astype(np.uint32)
    return ((wide[:, :, 0] * 19595 + wide[:, :, 1] * 38470 + wide[:, :, 2] * 7471 + 0x8000) >> 16).astype(np.uint8)


def resized(raw, height, width, method):
    if raw.shape[:2] == (height, width):
        return raw
    image = pillow()[0].fromarray(np.ascontiguousarray(raw))
    return np.asarray(image.resize((width, height), RESIZE[method]))


def normalized(pixels, spec):
    """float32 batch of one, of uint8 (H, W, C)."""
    x = pixels.astype(np.float32) / np.float32(spec["scale"])
    x = (x - np.asarray(spec["mean"], np.float32)) / np.asarray(spec["std"], np.float32)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None] if spec["layout"] == "NCHW" else x[None])


def tolerance(spec):
    """One pixel level: what two versions of pillow do to each other when they resize."""
    return 1.0 / (float(spec["scale"]) * min(spec["std"]))
