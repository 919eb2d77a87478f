"""What a model source hands over: the module, the name of its classifier, and the preprocessing its weights expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..core.errors import RecipeError
from ..inputs.frames import MOST

#: key of a node's metadata in a module that is a graph: (lowest, highest real value) of the grid that the model's file
#: has for the node's value
RANGE = "range_of_file"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Origin:
    """Where weights came from: `weights` as a recipe names them, at one revision, and the SHA-256 of files by name."""

    weights: str
    sha256: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """A model ready to be fine-tuned.

    `module` is in eval mode and has `classes` outputs; `head` is the dotted name of its classifier layer. `spec` is a
    complete `preprocess` table (kind, size [h, w], channels, resize, mean, std, scale, layout, input) with the default
    of the weights; `pretrained` says whether weights were loaded, `origin` which; `notes` are for the user.
    `keep_float` names layers that stay in float where the recipe's own `quantize.keep_float` names none. `labels` are
    the names of the outputs where the weights bring some beside those of the data (letters of a recognizer); () where
    the data's are all. `files` are {name: bytes} of what preprocessing reads, as `Task.learn` gives it. `name` is what
    the weights say that the network is, for a recipe that leaves `model.name` out.
    """

    module: nn.Module
    head: str
    spec: dict[str, Any]
    classes: int
    pretrained: bool = False
    notes: tuple[str, ...] = ()
    origin: Origin | None = None
    keep_float: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    name: str = ""


def checked_channels(channels: Any) -> int:
    """`model.args.channels`: 1 (gray), 3 (colour) or those of a stack of frames; raises `RecipeError` for others."""
    if type(channels) is not int or not 1 <= channels <= MOST:
        raise RecipeError(f"is {channels!r}, expected 1, 3 or how many frames a stack has", where="model.args.channels")
    return channels


def image_spec(
    size: Sequence[int],
    channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    resize: str = "bilinear",
) -> dict[str, Any]:
    """A `preprocess` table: `size` [h, w] in pixels; mean and std of pixels / 255 default to ImageNet's (gray: 0.5)."""
    if mean is None:
        mean = IMAGENET_MEAN if channels == 3 else (0.5,) * channels
    if std is None:
        std = IMAGENET_STD if channels == 3 else (0.5,) * channels

    return {
        "kind": "image",
        "size": [int(side) for side in size],
        "channels": channels,
        "resize": resize,
        "mean": [float(value) for value in mean],
        "std": [float(value) for value in std],
        "scale": 255.0,
        "layout": "NCHW",
        "input": "x",
    }
