"""A one-stage, anchor-free detector after YOLOX (Ge et al. 2021) and FCOS (Tian et al. 2019), made for int8.

Features at strides 8, 16 and 32, joined top-down and bottom-up (PANet, Liu et al. 2018) by convolutions, ReLU and
nearest upsampling. Every level hands out its class logits and its boxes as outputs of their own: they are never
concatenated, so each has its own quantization parameters. `tasks/boxes.py` says what the numbers mean; decoding and NMS
are no part of the graph. Neck and head have no BatchNorm: with `norm_stats = "freeze"`, which suits a pretrained
backbone, new statistics would never be filled.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from .efficientnet_lite import EfficientNetLite0
from .mobilenet import MobileNetV2
from .pyramid import PyramidHead

#: a new class head says this probability everywhere, so that the many empty cells do not drown the first steps
PRIOR = 0.01


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.ReLU())


class LiteFeatures(EfficientNetLite0):
    """EfficientNet-Lite without its classifier: features at strides 8, 16, 32."""

    def __init__(self, channels: int = 3, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__(1, channels, 0.0, width, depth)
        del self._conv_head, self._bn1, self._fc, self.avgpool, self.dropout
        self._taps = tuple(self.ends[stage] for stage in (2, 4, 6))
        self.channels = tuple(int(self._blocks[i].outputs) for i in self._taps)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.act(self._bn0(self._conv_stem(x)))
        features = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in self._taps:
                features.append(x)

        return features


class MobileNetV2Features(MobileNetV2):
    """MobileNetV2 without its classifier: features at strides 8, 16, 32. State dict names as in torchvision."""

    _taps = (6, 13, 17)

    def __init__(self, channels: int = 3, width: float = 1.0) -> None:
        super().__init__(1, channels, width, 0.0)
        del self.classifier, self.avgpool, self.features[18]
        self.channels = tuple(self.features[i].conv[-2].out_channels for i in self._taps)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        features = []
        for i, block in enumerate(self.features):
            x = block(x)
            if i in self._taps:
                features.append(x)

        return features


class PlainFeatures(nn.Module):
    """Plain 3x3 convolutions with BatchNorm and ReLU6, randomly initialized: features at strides 8, 16, 32."""

    def __init__(self, channels: int = 3, width: int = 16) -> None:
        super().__init__()
        widths = (width, 2 * width, 3 * width, 4 * width, 4 * width)
        self.channels = widths[2:]
        inputs = (channels, *widths)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs[i], widths[i], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[i]), nn.ReLU6())
            for i in range(len(widths))
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[2:]


class PathAggregation(nn.Module):
    """Features of three strides, each told of the others; `width` channels everywhere."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.up = nn.ModuleList(_conv(width, width) for _ in channels[1:])
        self.shrink = nn.ModuleList(_conv(width, width, stride=2) for _ in channels[1:])
        self.down = nn.ModuleList(_conv(width, width) for _ in channels[1:])

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        laterals = [lateral(x) for lateral, x in zip(self.lateral, features)]
        for i in range(len(laterals) - 2, -1, -1):
            laterals[i] = self.up[i](laterals[i] + F.interpolate(laterals[i + 1], scale_factor=2.0, mode="nearest"))

        for i in range(1, len(laterals)):
            laterals[i] = self.down[i - 1](laterals[i] + self.shrink[i - 1](laterals[i - 1]))

        return laterals


class Branches(nn.Module):
    """The head of one level: class logits (N, C, h, w) and boxes (N, 4, h, w), each by a tower of its own."""

    def __init__(self, n_classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.classes = nn.Sequential(*(_conv(width, width) for _ in range(depth)), nn.Conv2d(width, n_classes, 1))
        self.boxes = nn.Sequential(*(_conv(width, width) for _ in range(depth)), nn.Conv2d(width, 4, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.classes(x), self.boxes(x)


class Detector(nn.Module):
    """Images (N, channels, H, W), H and W multiples of 32 -> (logits, boxes, logits, boxes, ...), finest level first.

    `width` is the number of channels of neck and head, `depth` the 3x3 convolutions of each branch.
    """

    def __init__(self, backbone: nn.Module, n_classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.backbone = backbone
        channels: tuple[int, ...] = backbone.channels
        self.head = nn.Module()
        self.head.neck = PathAggregation(channels, width)
        self.head.levels = nn.ModuleList(Branches(n_classes, width, depth) for _ in channels)

        for layer in self.head.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
                nn.init.zeros_(layer.bias)

        for level in self.head.levels:
            for last in (level.classes[-1], level.boxes[-1]):
                nn.init.normal_(last.weight, 0, 0.01)
            nn.init.constant_(level.classes[-1].bias, math.log(PRIOR / (1 - PRIOR)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.head.neck(self.backbone(x))
        return tuple(t for level, f in zip(self.head.levels, features) for t in level(f))

    def adapt(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A classifier's weights under the names of the backbone; a detector's own as they are.

        What a backbone has no use for (the classifier and the layer before it) is left out.
        """
        backbone_state = self.backbone.state_dict()
        matching = {f"backbone.{name}": tensor for name, tensor in state.items() if name in backbone_state}
        return state if any(name.startswith("backbone.") for name in state) or not matching else matching


class YoloLite0(Detector):
    """The detector on EfficientNet-Lite0, whose ImageNet weights fit the backbone."""

    def __init__(self, n_classes: int, channels: int = 3, width: int = 64, depth: int = 1) -> None:
        super().__init__(LiteFeatures(channels), n_classes, width, depth)


class YoloLite1(Detector):
    """The detector on EfficientNet-Lite1."""

    def __init__(self, n_classes: int, channels: int = 3, width: int = 64, depth: int = 1) -> None:
        super().__init__(LiteFeatures(channels, depth=1.1), n_classes, width, depth)


class YoloLite2(Detector):
    """The detector on EfficientNet-Lite2."""

    def __init__(self, n_classes: int, channels: int = 3, width: int = 64, depth: int = 1) -> None:
        super().__init__(LiteFeatures(channels, 1.1, 1.2), n_classes, width, depth)


class YoloMobileNetV2(Detector):
    """The detector on MobileNetV2; torchvision's ImageNet weights fit the backbone. `scale` multiplies its channels."""

    def __init__(self, n_classes: int, channels: int = 3, width: int = 64, depth: int = 1, scale: float = 1.0) -> None:
        super().__init__(MobileNetV2Features(channels, scale), n_classes, width, depth)


class YoloPlain(Detector):
    """The detector on a few plain convolutions: small, and trained from random initialization."""

    def __init__(self, n_classes: int, channels: int = 3, width: int = 32, depth: int = 1, base: int = 16) -> None:
        super().__init__(PlainFeatures(channels, base), n_classes, width, depth)


def on_pyramid(backbone_of: Callable[..., nn.Module], n_classes: int, width: int = 64, depth: int = 1) -> Detector:
    """The detector on the features at strides 8, 16 and 32 of any backbone."""
    return Detector(backbone_of((8, 16, 32)), n_classes, width, depth)


ON_PYRAMID = PyramidHead(on_pyramid, (320, 320))
