"""MobileNetV2 (Sandler et al. 2018): inverted residuals with ReLU6. State dict names as in torchvision."""

from __future__ import annotations

import torch
from torch import nn

#: expansion, output channels, repeats, stride of the first
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def _divisible(value: float, by: int = 8) -> int:
    """The multiple of `by` nearest to `value`, at most 10 % below it."""
    rounded = max(by, int(value + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * value else rounded


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        widen = [_conv(inputs, hidden, 1)] if expand != 1 else []
        self.conv = nn.Sequential(
            *widen,
            _conv(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Images (N, channels, H, W) -> logits (N, n_classes); made for 224 px. `width` multiplies the channels."""

    def __init__(self, n_classes: int, channels: int = 3, width: float = 1.0, dropout: float = 0.2) -> None:
        super().__init__()
        inputs = _divisible(32 * width)
        layers: list[nn.Module] = [_conv(channels, inputs, 3, 2)]

        for expand, outputs, repeats, stride in STAGES:
            for i in range(repeats):
                layers.append(InvertedResidual(inputs, _divisible(outputs * width), 1 if i else stride, expand))
                inputs = _divisible(outputs * width)

        last = _divisible(1280 * max(1.0, width))
        layers.append(_conv(inputs, last, 1))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, n_classes))

        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")

        head = self.classifier[1]
        assert isinstance(head, nn.Linear)
        nn.init.normal_(head.weight, 0, 0.01)
        nn.init.zeros_(head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))
