"""A small QuartzNet (Kriman et al. 2020): separable convolutions along time over the features of a sound, for CTC.

Two departures from the paper: convolutions along time are 2-D with a width of one, which every runtime computes in
integers, and every convolution has its own BatchNorm and ReLU (as in DS-CNN), so that each grid spans one kind of
value. The features are the channels of the first one: integer kernels take channels by fours or eights, and of a
picture of one channel they would compute eight.
"""

from __future__ import annotations

import math

import torch
from torch import nn

BLANK_SHARE = 0.9


def _norm(conv: nn.Conv2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()]


class Block(nn.Module):
    """Separable convolutions and the way around them; the channels stay what they are."""

    def __init__(self, width: int, kernel: int, repeat: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(repeat):
            layers += _norm(nn.Conv2d(width, width, (kernel, 1), 1, (kernel // 2, 0), groups=width, bias=False))
            layers += _norm(nn.Conv2d(width, width, 1, bias=False))

        self.body = nn.Sequential(*layers[:-1])  # the last ReLU comes after the sum
        self.out = nn.Sequential(nn.ReLU(), nn.Dropout(dropout))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x + self.body(x))


class QuartzNet(nn.Module):
    """Features (N, 1, frames, features) -> logits (N, n_classes, ceil(frames / stride)); class 0 is the blank."""

    def __init__(
        self,
        n_classes: int,
        features: int = 40,
        width: int = 96,
        blocks: int = 4,
        repeat: int = 2,
        kernel: int = 9,
        stride: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"a kernel of {kernel} frames has no middle")

        self.stem = nn.Sequential(
            *_norm(nn.Conv2d(features, width, (kernel, 1), (stride, 1), (kernel // 2, 0), bias=False))
        )
        self.blocks = nn.ModuleList(Block(width, kernel, repeat, dropout) for _ in range(blocks))
        self.head = nn.Conv2d(width, n_classes, 1)
        self.start_blank()

    def start_blank(self) -> None:
        """Let a fresh head with a bias say the blank in `BLANK_SHARE` of the frames.

        CTC begins by learning that most frames say nothing. A head that starts there spares the layers below the large
        gradients of that, which cost hundreds of steps (as Lin et al. 2017 start a detector's rare classes).
        """
        bias = getattr(self.head, "bias", None)
        if bias is not None:
            with torch.no_grad():
                bias[0] = math.log(BLANK_SHARE / (1 - BLANK_SHARE) * (len(bias) - 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x.transpose(1, 3))
        for block in self.blocks:
            x = block(x)
        return self.head(x).flatten(2)
