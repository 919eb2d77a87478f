"""Detectors of the package `transformers` that answer with a set of boxes (YOLOS, DETR, RT-DETR and their kin)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import heads, hf_folder, picture_size
from .request import ModelRequest

#: words in the names of layers that score classes, inner ones that choose or teach queries included
_SCORING = ("class", "score")
#: fields of an output with the answers of inner layers: of each layer (N, layers, Q, ...), and of the encoder
_OF_LAYERS = ("intermediate_logits", "intermediate_reference_points")
_OF_ENCODER = ("enc_topk_logits", "enc_topk_bboxes")

#: words in the names of layers whose scores choose the places that become queries
_CHOOSING = ("enc_score_head",)


class SetDetector(nn.Module):
    """Pictures (N, channels, H, W) -> class logits (N, Q, classes), where the model has a class for it logits of "no
    object" (N, Q, 1), and boxes (N, Q, 4) cx cy w h as shares of the sides: see `metrics/box_sets.py`.

    In training the answers of inner layers follow, where the model has any, as pairs of logits and boxes: only they
    teach what chooses the queries (RT-DETR).
    """

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model, self.classes = model, classes

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.model(pixel_values=x)
        logits, boxes = outputs.logits, outputs.pred_boxes
        inner = _inner(outputs) if self.training else ()
        if logits.shape[2] == self.classes:
            return (logits, boxes, *inner)
        return (logits[..., :-1], logits[..., -1:], boxes, *inner)


def _inner(outputs: Any) -> tuple[torch.Tensor, ...]:
    tensors: list[torch.Tensor] = []
    logits, boxes = (getattr(outputs, name, None) for name in _OF_LAYERS)
    if logits is not None and boxes is not None:
        for layer in range(logits.shape[1] - 1):  # the last layer's is the answer itself
            tensors += [logits[:, layer], boxes[:, layer]]
    of_encoder = [getattr(outputs, name, None) for name in _OF_ENCODER]
    return (*tensors, *(value for value in of_encoder if all(other is not None for other in of_encoder)))


def scoring_layers(module: nn.Module, classes: int) -> list[str]:
    """Dotted names of the linear layers that score `classes` classes, with or without "no object"; the answer's is the
    last."""
    names = [
        (name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and any(word in name for word in _SCORING)
    ]
    fitting = [name for name, layer in names if layer.out_features in (classes, classes + 1)]
    inner = [name for name in fitting if name.rpartition(".")[2] == "0" and f"{name[:-1]}1" in dict(names)]

    # the first layer of an MLP may have as many outputs by chance; of a list of equal heads all fit
    return [name for name in fitting if name not in inner or f"{name[:-1]}1" in fitting]


def find_head(module: nn.Module, classes: int) -> str:
    """The layer that scores the answer's classes; "" where no name tells."""
    names = scoring_layers(module, classes)
    return names[-1] if names else ""


def choosing_layers(module: nn.Module) -> tuple[str, ...]:
    """Layers whose highest scores decide which places of a picture become queries (RT-DETR, D-FINE). They stay in
    float: on a grid of 256 values many places have the same score, and runtimes order equal ones differently."""
    return tuple(
        name
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and any(word in name for word in _CHOOSING)
    )


def complete(
    module: nn.Module, folder: Path, config: Any, request: ModelRequest
) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
    """The detector, its preprocessing by the folder's image processor, and notes. `model.args.size` sets height and
    width of the input; positions that the model has learned are resized to it once, not in every call."""
    spec, notes, _ = hf_folder.image_preprocessing(folder, config, heads.channels(module))
    if "size" in request.model.args:
        spec["size"] = list(picture_size.stated(request.model.args["size"]))
    _resize_positions(module, (spec["size"][0], spec["size"][1]))

    return SetDetector(module, request.outputs), spec, notes


def _resize_positions(module: nn.Module, size: tuple[int, int]) -> None:
    """Give learned positions the grid of pictures of `size`: YOLOS resizes them in modules called interpolation."""
    tables = {"position_embeddings": "", "mid_position_embeddings": "interpolation"}
    layers = [layer for layer in module.modules() if isinstance(getattr(layer, "interpolation", None), nn.Module)]
    if not layers:
        return

    with torch.no_grad():
        for layer in layers:
            for name, holder in tables.items():
                owner = getattr(layer, holder) if holder else layer
                if isinstance(getattr(owner, name, None), nn.Parameter):
                    table = layer.interpolation(size) if holder else layer.interpolation(getattr(owner, name), size)
                    setattr(owner, name, nn.Parameter(table.clone()))

    for layer in layers:
        layer.interpolation.config.image_size = list(size)
