"""Residual networks: ResNet-18 (He et al. 2015), the CIFAR form ResNet-20, and MLPerf Tiny's ResNet-8.

State dict names: `resnet18` as in torchvision, `resnet20` as in the widely used CIFAR checkpoints (option A shortcuts:
every second pixel, new channels zero, half on each side).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is projected by a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, project: bool = True) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _conv(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample: nn.Module | None = None

        if project and (stride != 1 or inputs != outputs):
            self.downsample = nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class PaddedBlock(Block):
    """The same with a shortcut without weights (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride, project=False)
        self.stride, self.pad = stride, (outputs - inputs) // 2

    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == 1 and self.pad == 0:
            return x
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))


def _layer(block: type, inputs: int, outputs: int, stride: int, count: int) -> nn.Sequential:
    return nn.Sequential(*[block(outputs if i else inputs, outputs, 1 if i else stride) for i in range(count)])


def _initialize(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


class ResNet18(nn.Module):
    """Images (N, channels, H, W) -> logits (N, n_classes); made for 224 px."""

    def __init__(self, n_classes: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.layer1 = _layer(Block, 64, 64, 1, 2)
        self.layer2 = _layer(Block, 64, 128, 2, 2)
        self.layer3 = _layer(Block, 128, 256, 2, 2)
        self.layer4 = _layer(Block, 256, 512, 2, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, n_classes)
        _initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


class ResNet20(nn.Module):
    """Images (N, channels, H, W) -> logits (N, n_classes); made for 32 px."""

    def __init__(self, n_classes: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = _conv(channels, 16, 3, 1), nn.BatchNorm2d(16), nn.ReLU()
        self.layer1 = _layer(PaddedBlock, 16, 16, 1, 3)
        self.layer2 = _layer(PaddedBlock, 16, 32, 2, 3)
        self.layer3 = _layer(PaddedBlock, 32, 64, 2, 3)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, n_classes)
        _initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.avgpool(x).flatten(1))


class ResNet8(nn.Module):
    """Images (N, channels, H, W) -> logits (N, n_classes); MLPerf Tiny's image classifier, made for 32 px."""

    def __init__(self, n_classes: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = _conv(channels, 16, 3, 1), nn.BatchNorm2d(16), nn.ReLU()
        self.layer1 = _layer(Block, 16, 16, 1, 1)
        self.layer2 = _layer(Block, 16, 32, 2, 1)
        self.layer3 = _layer(Block, 32, 64, 2, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, n_classes)
        _initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))
