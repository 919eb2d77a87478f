"""Detectors of the package `ultralytics` from the user's own .pt file: a pickle of a whole model, so to be allowed.

What is taken is the network up to its raw outputs: class logits and distributions of distances, level by level, as
`metrics/boxes.py` has them. Training, quantization, decoding and suppression are edgeft's own. Models can be read whose
last layer is one-stage and anchor-free with distances in bins: the `Detect` of YOLOv5u, 8, 9, 11 and 12, and of YOLOv10
the branches that several cells answer for an object with (its one-to-one branches learn another assignment).
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.errors import Missing, ModelError, RecipeError, nearest
from ..metrics.boxes import STRIDE
from .built import Built, image_spec
from .nets.detector import PRIOR
from .request import ModelRequest, ModelSource

_SIDE = 640
_ARGS = ("size",)
#: last layers that are read
_HEADS = ("Detect", "v10Detect")


class Branches(nn.Module):
    """The head of one level: class logits (N, C, h, w) and distances (N, 4 * bins, h, w)."""

    def __init__(self, classes: nn.Module, boxes: nn.Module) -> None:
        super().__init__()
        self.classes, self.boxes = classes, boxes

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.classes(x), self.boxes(x)


class Detector(nn.Module):
    """Layers that say by number whose outputs they take, and a head of one `Branches` a level.

    Images (N, 3, H, W), H and W multiples of 32 -> (logits, boxes, logits, boxes, ...), finest level first.
    """

    def __init__(self, layers: list[nn.Module], detect: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.takes = [layer.f for layer in (*layers, detect)]
        self.head = nn.ModuleList(Branches(classes, boxes) for boxes, classes in zip(detect.cv2, detect.cv3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raw_outputs: list[torch.Tensor] = []

        def of(source: int) -> torch.Tensor:
            return (raw_outputs[source] if raw_outputs else x) if source == -1 else raw_outputs[source]

        for layer, takes in zip(self.layers, self.takes):
            raw_outputs.append(layer(of(takes) if isinstance(takes, int) else [of(source) for source in takes]))

        levels = [raw_outputs[source] for source in self.takes[-1]]
        return tuple(t for branches, level in zip(self.head, levels) for t in branches(level))


def build(request: ModelRequest) -> Built:
    """The detector in the file `model.name` (a path ending in .pt), with new class branches where their number differs.

    `model.args`: `size`, pixels or [height, width]. Raises `ModelError` without `allow_code` and for a file that holds
    no such detector, `Missing` without the package `ultralytics`, `RecipeError` for an argument.
    """
    model, n_classes = request.model, request.outputs
    path = Path(model.name)

    for key in model.args:
        if key not in _ARGS:
            raise RecipeError(f"unknown argument {key!r}", where="model.args", remedy=nearest(key, _ARGS))

    if model.weights:
        raise RecipeError("the file named by model.name has the weights", where="model.weights", remedy="leave it out")
    if not path.is_file() or path.suffix != ".pt":
        raise ModelError("no such .pt file", where=model.name, remedy="model.name is the path of the file")

    if not request.allow_code:
        raise ModelError(
            f"{path.name} is a pickle of a whole model: reading it runs code, which was not allowed",
            where="model.name",
            remedy="if you trust its author, pass --allow-code",
        )

    checkpoint_model, stated = _unpickled(path)
    module = Detector(*_parts(checkpoint_model, path)).float().eval()
    for parameter in module.parameters():
        parameter.requires_grad_(True)

    notes: list[str] = []
    before = module.head[0].classes[-1].out_channels
    if before != n_classes:
        _new_classes(module, n_classes)
        notes.append(f"the model knew {before} classes: new branches for {n_classes}")
    elif names := getattr(checkpoint_model, "names", None):
        names_text = ", ".join(str(name) for name in (names.values() if isinstance(names, dict) else names))
        notes.append(f"the class branches are kept; the file calls its classes {names_text[:200]}")

    side = stated if isinstance(stated, int) and stated > 0 else _SIDE
    size = model.args.get("size", side)
    spec = image_spec((size, size) if isinstance(size, int) else size, 3, (0.0,) * 3, (1.0,) * 3)
    return Built(module, "head", spec, n_classes, True, tuple(notes))


def _unpickled(path: Path) -> tuple[Any, Any]:
    """(the model, the picture's side it was trained with or None)."""
    os.environ["YOLO_OFFLINE"] = "true"  # without it the import looks for the internet, and events are sent
    try:
        import ultralytics  # noqa: F401 (its classes are in the pickle)
    except ImportError as error:
        raise Missing(f"{path.name} needs the package ultralytics", remedy="pip install ultralytics") from error

    try:
        value = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # a pickle may raise anything
        raise ModelError(f"cannot be read ({type(error).__name__}: {error})", where=str(path)) from error

    table = value if isinstance(value, dict) else {"model": value}
    checkpoint_model = table.get("ema") or table.get("model")
    if not isinstance(checkpoint_model, nn.Module):
        raise ModelError("holds no model", where=str(path), remedy="save it with ultralytics: model.save('file.pt')")

    arguments = table.get("train_args") or getattr(checkpoint_model, "args", None) or {}
    return checkpoint_model, arguments.get("imgsz") if isinstance(arguments, dict) else None


def _parts(checkpoint_model: nn.Module, path: Path) -> tuple[list[nn.Module], Any]:
    layers = list(checkpoint_model.model) if isinstance(getattr(checkpoint_model, "model", None), nn.Sequential) else []
    detect: Any = layers[-1] if layers else None
    kind = type(detect).__name__
    bins, branches = getattr(detect, "reg_max", 1), getattr(detect, "cv2", None)

    if kind not in _HEADS or bins < 2 or branches is None:
        fault = "without bins" if kind in _HEADS and bins < 2 else "fused for end-to-end use"
        raise ModelError(
            f"ends in {kind if layers else type(checkpoint_model).__name__}"
            + (f" {fault}" if kind in _HEADS else "")
            + ", which is not a detector of this kind",
            where=str(path),
            remedy="readable: detection models of YOLOv5u, YOLOv8, v9, v10, YOLO11 and YOLO12, not fused "
            "(not YOLO26, segmentation, pose or oriented boxes)",
        )

    first = float(detect.stride[0])
    if first != STRIDE:
        raise ModelError(f"its finest level has stride {first:.0f}, expected {STRIDE}", where=str(path))

    return layers[:-1], detect


def _new_classes(module: Detector, n_classes: int) -> None:
    for branches in module.head:
        old: nn.Conv2d = branches.classes[-1]
        new = nn.Conv2d(old.in_channels, n_classes, 1)
        nn.init.normal_(new.weight, 0, 0.01)
        nn.init.constant_(new.bias, math.log(PRIOR / (1 - PRIOR)))
        branches.classes[-1] = new


SOURCE = ModelSource(
    "ultralytics", "Detectors of a .pt file of ultralytics.", build, knows=lambda name: name.endswith(".pt")
)
