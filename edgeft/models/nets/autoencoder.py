"""The autoencoder of MLPerf Tiny's anomaly detection (Banbury et al. 2021, after the baseline of DCASE 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn


class Autoencoder(nn.Module):
    """Rows (N, K) -> the reconstruction less the row, (N, K): 0 where a row is rebuilt as it was.

    Layers of `hidden` units with BatchNorm and ReLU, a code of `code`, and the same layers back. `n_classes` is K.
    """

    def __init__(
        self,
        n_classes: int,
        channels: int = 1,
        size: Sequence[int] = (640,),
        hidden: Sequence[int] = (128, 128, 128, 128),
        code: int = 8,
    ) -> None:
        super().__init__()
        if channels * math.prod(size) != n_classes:
            raise ValueError(f"{n_classes} outputs for rows of {channels * math.prod(size)} numbers")

        layers: list[nn.Module] = []
        inputs = n_classes
        for width in (*hidden, code, *reversed(hidden)):
            layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()]
            inputs = width

        self.layers, self.head = nn.Sequential(*layers), nn.Linear(inputs, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x)) - x
