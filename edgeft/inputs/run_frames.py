"""Stacks of frames: the same arithmetic in the same order as edgeft/inputs/frames.py."""

import numpy as np

from ..core.runner import Stop, load_npy
from .run_pixels import normalized, resized

INPUTS = ".npy files, each a stack of frames: uint8 (height, width, frames)"


def read(path, spec=None):
    """uint8 (H, W, C) of a .npy file."""
    if not path.lower().endswith(".npy"):
        raise Stop(3, f"{path[:80]}: a stack of frames is a .npy file of uint8 (height, width, frames)")
    return load_npy(path)


def feeds(raw, spec):
    (height, width), channels = spec["size"], spec["channels"]
    if raw.dtype != np.uint8 or raw.ndim != 3 or not raw.size or raw.shape[2] != channels:
        raise Stop(3, f"expected a stack of uint8 (height, width, {channels}), got {raw.dtype} {raw.shape}")
    frames = [resized(raw[:, :, i], height, width, spec["resize"]) for i in range(channels)]
    return {spec["input"]: normalized(np.stack(frames, axis=2), spec)}
