"""EfficientNet-Lite0 as the encoder of a segmenter: features of several strides, under the names of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ...core.errors import RecipeError
from .efficientnet_lite import SameConv2d, blocks, norm, stem_width

#: the stride of what each stage of the encoder hands on
STRIDES = (2, 4, 8, 16, 16, 32, 32)
#: of an ImageNet classifier's weights, what a decoder has no use for
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")


class LiteEncoder(nn.Module):
    """Base of segmenters: images (N, channels, H, W), both sides multiples of the last stage's stride.

    ImageNet weights fit the encoder as it is. For small nets, `width` multiplies its channels and `depth` its repeats
    (at least one each), and of its 7 `stages` the first few may do. `finest` is the finest stride that the decoder
    reads. State dict names are `EfficientNetLite0`'s. A subclass sets `head` and calls `initialize`.
    """

    def __init__(self, channels: int, finest: int, width: float, depth: float, stages: int) -> None:
        super().__init__()
        if stages not in range(1, len(STRIDES) + 1) or finest > STRIDES[stages - 1]:
            raise ValueError(f"stride is {finest!r} and stages {stages!r}: expected a stride within 1 to 7 stages")
        if width <= 0 or depth <= 0:
            raise ValueError("width and depth must be above 0")

        stem = stem_width(width)
        self._conv_stem, self._bn0 = SameConv2d(channels, stem, 3, 2, bias=False), norm(stem)
        self._blocks, ends = blocks(width, depth, stages)
        self.act = nn.ReLU6()
        self.deepest = STRIDES[stages - 1]

        #: {index of a block: its stride}, the last block of each stride that the decoder reads, coarsest first
        last = dict(zip(STRIDES, ends))
        self.taps = {last[s]: s for s in sorted(last, reverse=True) if finest <= s < self.deepest}

    @property
    def outputs(self) -> int:
        """Channels of the deepest features."""
        return int(self._blocks[-1].outputs)

    @property
    def skips(self) -> list[int]:
        """Channels of the finer features, coarsest first."""
        return [int(self._blocks[at].outputs) for at in self.taps]

    @staticmethod
    def adapt(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights of an ImageNet classifier without its classifier."""
        return {name: tensor for name, tensor in state.items() if not name.startswith(_CLASSIFIER)}

    def initialize(self, classifier: nn.Conv2d, new: Sequence[str] = ("head.",)) -> None:
        """Random weights of all convolutions; those below the names `new` are counted by what comes in."""
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in" if name.startswith(tuple(new)) else "fan_out")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

        nn.init.normal_(classifier.weight, 0, 0.01)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The deepest features and the finer ones, coarsest first; raises `RecipeError` for sides that do not fit."""
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

        return x, [features[index] for index in self.taps]
