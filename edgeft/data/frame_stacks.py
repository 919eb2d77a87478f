"""What an array of recorded pictures holds a step: a gray or colour picture, or a stack of the last few frames.

Stacks are stored with their frames last, (T, H, W, frames) as stable-baselines3 has them, first, (T, frames, H, W) as
gymnasium does, or as whole pictures, (T, frames, H, W, 1 or 3). A fourth channel that is 255 everywhere is opacity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core.errors import DataError
from ..inputs.frames import MOST

#: steps that are looked at for opacity
_LOOKED_AT = 256


@dataclass(frozen=True)
class Layout:
    """`kind` of inputs ("image" or "frames"), channels of a sample, and what makes uint8 (H, W[, C]) of a step's array.

    `note` says what was taken for what, where that is a choice.
    """

    kind: str
    channels: int
    arrange: Callable[[np.ndarray], np.ndarray] = np.asarray
    note: str = ""


def layout(observations: np.ndarray, where: str) -> Layout:
    """How uint8 (T, ...) of three to five axes is read; raises `DataError` for shapes that are no pictures."""
    shape = observations.shape[1:]
    if len(shape) == 2:
        return Layout("image", 1)

    if len(shape) == 3 and shape[2] in (1, 3):
        return Layout("image", shape[2])
    if len(shape) == 3 and shape[2] == 4 and _opaque(observations):
        note = f"{where}: the fourth channel is 255 everywhere: it is taken for opacity and left out"
        return Layout("image", 3, lambda step: step[:, :, :3], note)
    if len(shape) == 3 and 2 <= shape[2] <= MOST and shape[2] < min(shape[:2]):
        return Layout("frames", shape[2], note=_note(where, shape[2], "last"))

    if len(shape) == 3 and shape[0] in (1, 3) and shape[0] < min(shape[1:]):
        note = f"{where}: pictures of shape {shape} have their channels first"
        return Layout("image", shape[0], _channels_last, note)
    if len(shape) == 3 and 2 <= shape[0] <= MOST and shape[0] < min(shape[1:]):
        return Layout("frames", shape[0], _channels_last, _note(where, shape[0], "first"))

    if len(shape) == 4 and shape[3] in (1, 3) and 2 <= shape[0] * shape[3] <= MOST:
        return Layout("frames", shape[0] * shape[3], _one_behind_another, _note(where, shape[0] * shape[3], "first"))

    raise DataError(
        f"holds uint8 arrays of shape {shape}, which are neither pictures, (H, W), (H, W, 1) and (H, W, 3), nor stacks "
        f"of up to {MOST} frames, (H, W, frames), (frames, H, W) and (frames, H, W, 1 or 3)",
        where=where,
        remedy="bring the axes into one of these orders",
    )


def _note(where: str, channels: int, place: str) -> str:
    return f"{where}: stacks of frames, frames {place}: each becomes one of {channels} channels of the network's input"


def _opaque(observations: np.ndarray) -> bool:
    """Whether the last channel is 255 in every step that is looked at, which are spread over all."""
    step = max(1, len(observations) // _LOOKED_AT)
    return all(bool((picture[..., -1] == 255).all()) for picture in observations[::step])


def _channels_last(step: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(step, 0, -1))


def _one_behind_another(step: np.ndarray) -> np.ndarray:
    """(frames, H, W, c) -> (H, W, frames * c)."""
    return np.ascontiguousarray(np.moveaxis(step, 0, 2)).reshape(*step.shape[1:3], -1)
