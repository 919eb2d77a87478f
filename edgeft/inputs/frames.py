"""Stacks of frames (a robot's last few camera pictures): every frame becomes a channel of the graph's input.

The `preprocess` table is that of `image.py` with `kind` "frames", and `channels` is how many frames a stack has, of
colour frames three times as many. Frames are resized one by one, and none is dropped. The same arithmetic in the same
order is in the bundle's `run.py` (edgeft/inputs/run_frames.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core import npy
from ..core.errors import BundleError, DataError, RecipeError
from . import image

#: channels of a stack
MOST = 64


def configure(
    data: Any, defaults: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The table of `image.configure` for stacks of `facts["channels"]`.

    Raises `RecipeError` for a model that takes another number of channels.
    """
    table = image.configure(data, defaults, facts, say)
    if table["channels"] != facts["channels"]:
        raise RecipeError(
            f"the model takes {table['channels']} channels, and an observation is a stack of {facts['channels']}",
            where="model.name",
            remedy=f"set model.args.channels = {facts['channels']}, or name a network whose first layer is made for it",
        )

    return {**table, "kind": "frames"}


def read(path: str | Path, spec: Mapping[str, Any] | None = None) -> np.ndarray:
    """uint8 (H, W, C) of a `.npy` file, since no picture file holds a stack; raises `DataError` for anything else."""
    if not str(path).lower().endswith(".npy"):
        raise DataError(
            "the model takes a stack of frames, which no picture file holds",
            where=str(path)[:80],
            remedy="store it as .npy: uint8 (height, width, frames)",
        )

    try:
        return np.array(npy.mapped(path))
    except ValueError as error:
        raise DataError(f"not readable as an array ({error})", where=str(path)) from error


def preprocess(raw: np.ndarray, spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{input name: float32 (1, C, H, W), or (1, H, W, C)} of uint8 (H, W, C): resize, / scale, (x - mean) / std.

    Raises `DataError` for another dtype, shape or number of frames, `BundleError` for a table that cannot be followed,
    and `Missing` where a resize is needed and pillow is absent.
    """
    if spec.get("kind") != "frames":
        raise BundleError(f"is {spec.get('kind')!r}, expected 'frames'", where="preprocess.kind")

    settings, stack = image.check({**spec, "kind": "image"}, range(1, MOST + 1)), np.asarray(raw)
    if stack.dtype != np.uint8 or stack.ndim != 3 or not stack.size or stack.shape[2] != settings.channels:
        raise DataError(
            f"is {stack.dtype} {stack.shape}, expected uint8 (height, width, {settings.channels})",
            where="stack of frames",
        )

    frames = [image.resize(stack[:, :, i], settings.size, settings.resize) for i in range(settings.channels)]
    return {settings.input: image.normalized(np.stack(frames, axis=2), settings)}
