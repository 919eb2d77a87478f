"""A U-Net (Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015).

Its contracting path is EfficientNet-Lite0, so that ImageNet weights fit. On the way back the features are enlarged by 2
(nearest), joined with the encoder's of that size, and go through two convolutions of 3x3: all of that is exact or plain
convolution in int8. Thin structures need the fine grids that `lraspp` does without.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from .lite_encoder import LiteEncoder
from .pyramid import PyramidHead

#: channels of the decoder by stride, times `head_width`
WIDTHS = {16: 96, 8: 64, 4: 48, 2: 32, 1: 16}


class UNet(LiteEncoder):
    """Images (N, channels, H, W), both sides multiples of 32 -> logits (N, n_classes, H / stride, W / stride).

    `stride` is 1, 2, 4 or 8; at 1 the decoder reads the picture itself too. `head_width` multiplies the decoder's
    channels; `width`, `depth` and `stages` are those of `LiteEncoder`.
    """

    def __init__(
        self,
        n_classes: int,
        channels: int = 3,
        stride: int = 2,
        head_width: float = 1.0,
        width: float = 1.0,
        depth: float = 1.0,
        stages: int = 7,
        dropout: float = 0.1,
    ) -> None:
        if stride not in (1, 2, 4, 8) or head_width <= 0:
            raise ValueError(f"stride is {stride!r} and head_width {head_width!r}: expected 1, 2, 4 or 8, and above 0")

        super().__init__(channels, stride, width, depth, stages)
        strides = [*self.taps.values(), *([1] if stride == 1 else [])]
        wide = [max(8, int(WIDTHS[s] * head_width)) for s in strides]
        skips = [*self.skips, *([wide[-1]] if stride == 1 else [])]
        picture = channels if stride == 1 else 0
        self.head = Decoder(n_classes, self.outputs, skips, wide, picture, dropout)
        self.initialize(self.head.classifier)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deepest, finer = self.encode(x)
        return self.head(deepest, finer, x)


class Decoder(nn.Module):
    """Deepest features (N, deepest, h, w), finer ones, coarsest first, and the picture -> logits."""

    def __init__(
        self, n_classes: int, deepest: int, skips: list[int], widths: list[int], picture: int, dropout: float
    ) -> None:
        super().__init__()
        self.picture = _unit(picture, skips[-1]) if picture else None
        inputs = [deepest, *widths[:-1]]
        self.steps = nn.ModuleList(
            nn.Sequential(_unit(below + skip, width), _unit(width, width))
            for below, skip, width in zip(inputs, skips, widths)
        )

        self.dropout, self.classifier = nn.Dropout(dropout), nn.Conv2d(widths[-1], n_classes, 1)

    def forward(self, x: torch.Tensor, finer: list[torch.Tensor], picture: torch.Tensor) -> torch.Tensor:
        if self.picture is not None:
            finer = [*finer, self.picture(picture)]
        for features, step in zip(finer, self.steps):
            x = step(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), features], dim=1))
        return self.classifier(self.dropout(x))


def _unit(inputs: int, outputs: int) -> nn.Sequential:
    """A convolution of 3x3 and a ReLU6, without a norm: few training pictures give no statistics worth
    keeping."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU6())


class OnPyramid(nn.Module):
    """The U-Net on any backbone: images (N, channels, H, W) -> logits (N, n_classes, H / stride, W / stride)."""

    def __init__(self, backbone: nn.Module, n_classes: int, head_width: float, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        *skips, deepest = backbone.channels
        strides = backbone.strides[-2::-1]
        wide = [max(8, int(WIDTHS[stride] * head_width)) for stride in strides]
        self.head = Decoder(n_classes, deepest, skips[::-1], wide, 0, dropout)

        for layer in self.head.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in")
                nn.init.zeros_(layer.bias)

        nn.init.normal_(self.head.classifier.weight, 0, 0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        *finer, deepest = self.backbone(x)
        return self.head(deepest, finer[::-1], x)


def on_pyramid(
    backbone_of: Callable[..., nn.Module],
    n_classes: int,
    stride: int = 4,
    head_width: float = 1.0,
    dropout: float = 0.1,
) -> OnPyramid:
    """The U-Net on the features at strides `stride` (2, 4 or 8) to 32 of any backbone."""
    if stride not in (2, 4, 8) or head_width <= 0:
        raise ValueError(f"stride is {stride!r} and head_width {head_width!r}: expected 2, 4 or 8, and above 0")
    strides = tuple(s for s in (2, 4, 8, 16, 32) if s >= stride)
    return OnPyramid(backbone_of(strides), n_classes, head_width, dropout)


ON_PYRAMID = PyramidHead(on_pyramid, (288, 384), follows_data=True)
