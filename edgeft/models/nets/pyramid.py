"""A backbone of another package under a head of ours: features of several strides, finest first.

What heads ask of a backbone is `channels` and a forward that returns one map a stride, (N, C, H / stride, W / stride).
A task whose record names a `PyramidHead` gets its networks on any such backbone (`edgeft.models.features`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Map:
    """A map that a backbone hands out: its position among them, its channels and stride, and whether it is
    (N, h, w, C)."""

    position: int
    channels: int
    stride: int
    channels_last: bool = False


class Pyramid(nn.Module):
    """Of what `net` returns (a list or a dict of tensors) the `maps`, finest first, with channels first."""

    def __init__(self, net: nn.Module, maps: Sequence[Map]) -> None:
        super().__init__()
        self.net, self.maps = net, tuple(maps)

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(chosen.channels for chosen in self.maps)

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(chosen.stride for chosen in self.maps)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        values = self.net(x)
        values = list(values.values()) if isinstance(values, dict) else values
        return [
            values[m.position].permute(0, 3, 1, 2).contiguous() if m.channels_last else values[m.position]
            for m in self.maps
        ]


@dataclass(frozen=True)
class PyramidHead:
    """How a task makes a network of a backbone.

    `make(backbone_of, n_classes, **args)` returns the module; it calls `backbone_of(strides)` with the strides that it
    reads, finest first. The head is its submodule `head`, the backbone its `backbone`.
    `size` [h, w] is the input's where neither the recipe nor the data says one; `multiple` divides both sides;
    `follows_data` says that pictures keep the proportions of the data's.
    """

    make: Callable[..., nn.Module]
    size: tuple[int, int]
    multiple: int = 32
    follows_data: bool = False
