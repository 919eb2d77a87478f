"""A light encoder-decoder for segmentation: EfficientNet-Lite0, an LR-ASPP gate, and a way back down a pyramid.

The gate is that of LR-ASPP (Howard et al., "Searching for MobileNetV3", 2019): the deepest features, squeezed to what
the whole picture holds, say which of their channels count. Feature pyramids (Lin et al. 2017) bring the result back to
a finer grid: nearest upsampling by 2, a 1x1 convolution of the encoder's features of that size, a separable
convolution. All of that is exact or plain convolution in int8; what is left to the reader of the logits is to enlarge
them to the picture.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ...core.errors import RecipeError
from .efficientnet_lite import SameConv2d, blocks, norm, stem_width

#: the stride of what each stage of the encoder hands on
STRIDES = (2, 4, 8, 16, 16, 32, 32)
#: of an ImageNet classifier's weights, what a decoder has no use for
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")


class LRASPP(nn.Module):
    """Images (N, channels, H, W), both sides multiples of 32 -> logits (N, n_classes, H / stride, W / stride).

    `stride` is 4, 8 or 16; `head_width` the decoder's channels. ImageNet weights fit the encoder as it is. For small
    nets, `width` multiplies its channels and `depth` its repeats (at least one each), and of its 7 `stages` the first
    few may do: then the sides must be multiples of the last one's stride. State dict names are `EfficientNetLite0`'s.
    """

    def __init__(
        self,
        n_classes: int,
        channels: int = 3,
        stride: int = 8,
        head_width: int = 128,
        width: float = 1.0,
        depth: float = 1.0,
        stages: int = len(STRIDES),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if stages not in range(1, len(STRIDES) + 1) or stride not in (4, 8, 16) or stride > STRIDES[stages - 1]:
            raise ValueError(f"stride is {stride!r} and stages {stages!r}: expected 4, 8 or 16 within 1 to 7 stages")
        if head_width < 1 or width <= 0 or depth <= 0:
            raise ValueError("head_width, width and depth must be above 0")
        stem = stem_width(width)
        self._conv_stem, self._bn0 = SameConv2d(channels, stem, 3, 2, bias=False), norm(stem)
        self._blocks, ends = blocks(width, depth, stages)
        self.act = nn.ReLU6()
        self.deepest = STRIDES[stages - 1]
        #: {index of a block: its stride}, the last block of each stride that the decoder reads, coarsest first
        last = dict(zip(STRIDES, ends))
        self.taps = {last[s]: s for s in sorted(last, reverse=True) if stride <= s < self.deepest}
        wide = [int(self._blocks[at].outputs) for at in self.taps]  # type: ignore[arg-type]
        self.head = Decoder(n_classes, int(self._blocks[-1].outputs), wide, head_width, dropout)  # type: ignore[arg-type]
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in" if name.startswith("head.") else "fan_out")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.normal_(self.head.classifier.weight, 0, 0.01)

    @staticmethod
    def adapt(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights of an ImageNet classifier without its classifier."""
        return {name: tensor for name, tensor in state.items() if not name.startswith(_CLASSIFIER)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2] % self.deepest or x.shape[3] % self.deepest:
            raise RecipeError(
                f"pictures of {x.shape[2]}x{x.shape[3]} pixels: both sides must be multiples of {self.deepest}",
                where="model.args.size",
                remedy="for example [288, 384]",
            )
        x = self.act(self._bn0(self._conv_stem(x)))
        features = {}
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self.taps:
                features[index] = x
        return self.head(x, [features[index] for index in self.taps])


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
    """Convolution and ReLU6, without a norm: what is learned from few pictures has no statistics worth keeping."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups), nn.ReLU6())
