"""Images: the same arithmetic in the same order as edgeft/inputs/image.py."""

from .run_pixels import channels_of, normalized, resized


def preprocess(raw, spec):
    """float32 batch of one, by the manifest's preprocess table."""
    (height, width), channels = spec["size"], spec["channels"]
    pixels = resized(channels_of(raw, channels), height, width, spec["resize"])
    return normalized(pixels.reshape(height, width, channels), spec)


def feeds(raw, spec):
    return {spec["input"]: preprocess(raw, spec)}
