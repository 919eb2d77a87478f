"""Layers that act in training alone."""

from __future__ import annotations

import torch
from torch import nn

from ..layer import Layer
from ..placed import FIRST, Placed
from ..registry import imports

_CHANNELS = {3: nn.Dropout1d, 4: nn.Dropout2d, 5: nn.Dropout3d}


class DropSample(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training a branch of whole samples is left out with probability `p`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ...) -> (N, ...)."""
        if not self.training or self.p == 0:
            return x
        shape = (x.shape[0],) + (1,) * (x.dim() - 1)
        kept = torch.rand(shape, device=x.device) >= self.p
        return x * kept / (1 - self.p)


@imports("Dropout", "AlphaDropout")
def dropout(layer: Layer) -> Placed:
    rate = float(layer.keras.rate)
    shape = getattr(layer.keras, "noise_shape", None)
    whole = shape is not None and all(size == 1 for size in shape[1:])
    if not rate:
        return layer.input
    return layer.each(
        layer.input, lambda part: layer.module(part.value, lambda: DropSample(rate) if whole else nn.Dropout(rate))
    )


@imports("StochasticDepth")
def stochastic_depth(layer: Layer) -> Placed:
    return layer.each(
        layer.input, lambda part: layer.module(part.value, lambda: DropSample(float(layer.keras.drop_path_rate)))
    )


@imports("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
def channels(layer: Layer) -> Placed:
    placed = layer.input
    value = layer.order.first(placed)
    return Placed(layer.module(value, lambda: _CHANNELS[placed.rank](float(layer.keras.rate))), FIRST)


@imports(
    "ActivityRegularization", "GaussianDropout", "GaussianNoise", "Identity", "InputLayer",
    "RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom",
)  # fmt: skip
def nothing(layer: Layer) -> Placed:
    if layer.kind not in ("Identity", "InputLayer"):
        layer.notes.add(f"{layer.name} ({layer.kind}) acts in training alone and is left out: [train] has augmentation")
    return layer.input
