"""Pixels, for all kinds of input that are pictures: the same arithmetic in the same order as edgeft/inputs/image.py."""

import os

import numpy as np

from ..core.runner import Stop, load_npy

INPUTS = "image files, or .npy files of uint8 pixels"
RESIZE = {"nearest": 0, "bilinear": 2, "bicubic": 3}  # pillow's numbers
MAX_PIXELS = 89478485
FORMATS = ("JPEG", "MPO", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "HEIF")
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands that libheif decodes


def pillow():
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise Stop(4, "decoding and resizing images needs pillow: pip install pillow") from None
    return Image, ImageOps


def read(path, spec=None):
    """uint8 (H, W) or (H, W, 3) of an image file, uint8 (H, W[, C]) of a .npy file."""
    spec = spec or {}
    if path.lower().endswith(".npy"):
        raw = load_npy(path)
        if raw.dtype.kind in "uif" and raw.dtype != np.uint8 and spec.get("value_range"):
            raw = scaled(raw, spec["value_range"])
        if raw.dtype != np.uint8 or raw.ndim not in (2, 3) or raw.size == 0 or (raw.ndim == 3 and raw.shape[2] > 4):
            raise Stop(3, f"{path}: expected uint8 pixels (H, W[, C]), got {raw.dtype} {raw.shape}")
        return raw

    if not os.path.isfile(path):
        raise Stop(3, f"{path}: no such file")

    image_module, image_ops = pillow()
    limit = int(spec.get("max_pixels") or MAX_PIXELS)
    image_module.MAX_IMAGE_PIXELS = max(image_module.MAX_IMAGE_PIXELS or limit, limit)
    with open(path, "rb") as handle:
        start = handle.read(12)

    if start[4:8] == b"ftyp" and start[8:12] in HEIC:
        try:
            import pillow_heif
        except ImportError:
            raise Stop(4, f"{path}: reading HEIC needs pillow-heif: pip install pillow-heif") from None
        pillow_heif.register_heif_opener()

    try:
        with image_module.open(path) as image:
            if image.format not in FORMATS or image.width * image.height > limit:
                raise ValueError(f"{image.format} of {image.width}x{image.height} pixels")
            image = image_ops.exif_transpose(image)
            if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                return narrow(np.asarray(image), spec)
            return np.array(image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB"), np.uint8)
    except Exception as error:  # decoders raise errors of any type on broken files
        raise Stop(3, f"{path}: not readable as an image ({error})") from error


def scaled(values, value_range):
    """uint8 of values of any number type: [low, high] becomes 0..255."""
    low, high = (float(v) for v in value_range)
    return np.rint(np.clip((values.astype(np.float64) - low) * 255.0 / (high - low), 0.0, 255.0)).astype(np.uint8)


def narrow(values, spec):
    """uint8 of pixels of more than 8 bits: by the manifest's range, else the upper byte."""
    if spec.get("value_range"):
        return scaled(values, spec["value_range"])
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("pixels of unknown range")
    return (values.astype(np.uint16) >> 8).astype(np.uint8)


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
