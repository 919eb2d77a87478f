"""A multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn


class MLP(nn.Module):
    """Inputs (N, channels, *size) -> logits (N, n_classes). `size` is fixed by the first layer.

    `output_mean` and `output_std` are what outputs that are values begin with, in their unit.
    """

    def __init__(
        self,
        n_classes: int,
        channels: int = 1,
        size: Sequence[int] = (28, 28),
        hidden: Sequence[int] = (256, 128),
        output_mean: float = 0.0,
        output_std: float = 1.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels * math.prod(size)

        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width

        self.layers = nn.Sequential(*layers)
        self.head, self.output_std = nn.Linear(inputs, n_classes), output_std
        with torch.no_grad():
            self.head.weight *= output_std
            self.head.bias.mul_(output_std).add_(output_mean)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x.flatten(1)))
