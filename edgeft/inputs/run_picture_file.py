"""Picture files, for all kinds of input that are single pictures: as edgeft/inputs/picture_file.py reads them."""

import os

import numpy as np

from ..core.runner import Stop, load_npy
from .run_pixels import pillow

INPUTS = "image files, or .npy files of uint8 pixels"
MAX_PIXELS = 89478485
FORMATS = ("JPEG", "MPO", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "HEIF")
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands that libheif decodes


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
