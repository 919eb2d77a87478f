"""DS-CNN (Zhang et al. 2017, in MLPerf Tiny's form): depthwise separable convolutions for keyword spotting."""

from __future__ import annotations

import torch
from torch import nn


def _norm(conv: nn.Conv2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()]


class DSCNN(nn.Module):
    """Pictures or spectra (N, channels, H, W) -> logits (N, n_classes); MLPerf Tiny feeds 49 frames of 10 MFCCs."""

    def __init__(
        self, n_classes: int, channels: int = 1, width: int = 64, blocks: int = 4, dropout: float = 0.2
    ) -> None:
        super().__init__()
        layers = _norm(nn.Conv2d(channels, width, (10, 4), 2, (5, 1), bias=False))
        layers.append(nn.Dropout(dropout))

        for _ in range(blocks):
            layers += _norm(nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False))
            layers += _norm(nn.Conv2d(width, width, 1, bias=False))

        self.features = nn.Sequential(*layers, nn.Dropout(2 * dropout), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(x).flatten(1))
