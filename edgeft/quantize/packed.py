"""Masks of one bit an element: what a backward pass needs of a ReLU or of a clipped value, in an eighth of a byte."""

from __future__ import annotations

import torch

_BITS = 8


def pack(mask: torch.Tensor) -> torch.Tensor:
    """uint8 (ceil(n / 8),) of a bool tensor of n elements."""
    flat = mask.reshape(-1)
    if rest := -flat.numel() % _BITS:
        flat = torch.cat([flat, flat.new_zeros(rest)])

    rows = flat.view(torch.uint8).view(-1, _BITS)
    packed = rows[:, 0].clone()
    for bit in range(1, _BITS):
        packed |= rows[:, bit] << bit

    return packed


def unpack(packed: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The mask again, in the shape of `like`, as 0 and 1 of uint8."""
    bits = torch.stack([(packed >> bit) & 1 for bit in range(_BITS)], dim=1)
    return bits.view(-1)[: like.numel()].view(like.shape)
