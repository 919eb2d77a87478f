"""A light encoder-decoder for segmentation: EfficientNet-Lite0, an LR-ASPP gate, and a way back down a pyramid.

The gate is that of LR-ASPP (Howard et al., "Searching for MobileNetV3", 2019): the deepest features, squeezed to what
the whole picture holds, say which of their channels count. Feature pyramids (Lin et al. 2017) bring the result back to
a finer grid: nearest upsampling by 2, a 1x1 convolution of the encoder's features of that size, a separable
convolution. All of that is exact or plain convolution in int8; what is left to the reader of the logits is to enlarge
them to the picture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .lite_encoder import LiteEncoder


class LRASPP(LiteEncoder):
    """Images (N, channels, H, W), both sides multiples of 32 -> logits (N, n_classes, H / stride, W / stride).

    `stride` is 4, 8 or 16; `head_width` the decoder's channels; `width`, `depth` and `stages` are those of
    `LiteEncoder`.
    """

    def __init__(
        self,
        n_classes: int,
        channels: int = 3,
        stride: int = 8,
        head_width: int = 128,
        width: float = 1.0,
        depth: float = 1.0,
        stages: int = 7,
        dropout: float = 0.1,
    ) -> None:
        if stride not in (4, 8, 16) or head_width < 1:
            raise ValueError(f"stride is {stride!r} and head_width {head_width!r}: expected 4, 8 or 16, and above 0")

        super().__init__(channels, stride, width, depth, stages)
        self.head = Decoder(n_classes, self.outputs, self.skips, head_width, dropout)
        self.initialize(self.head.classifier)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(*self.encode(x))


class Decoder(nn.Module):
    """Deepest features (N, deepest, h, w) and finer ones, coarsest first, each twice as fine -> logits."""

    def __init__(self, n_classes: int, deepest: int, finer: list[int], width: int, dropout: float) -> None:
        super().__init__()
        self.project, self.gate = _unit(deepest, width), nn.Conv2d(deepest, width, 1)
        self.pool, self.sigmoid = nn.AdaptiveAvgPool2d(1), nn.Sigmoid()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in finer)
        self.smooth = nn.ModuleList(
            nn.Sequential(_unit(width, width, 3, groups=width), _unit(width, width)) for _ in finer
        )
        self.dropout, self.classifier = nn.Dropout(dropout), nn.Conv2d(width, n_classes, 1)

    def forward(self, x: torch.Tensor, finer: list[torch.Tensor]) -> torch.Tensor:
        x = self.project(x) * self.sigmoid(self.gate(self.pool(x)))
        for features, lateral, smooth in zip(finer, self.lateral, self.smooth):
            x = smooth(F.interpolate(x, scale_factor=2, mode="nearest") + lateral(features))
        return self.classifier(self.dropout(x))


def _unit(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and ReLU6, without a norm: few training pictures give no statistics worth keeping."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups), nn.ReLU6())
