"""Weights of colour networks in one that sees a stack of gray frames."""

from __future__ import annotations

import torch
from torch import nn

from edgeft.models import weights


def net(channels: int) -> nn.Sequential:
    torch.manual_seed(channels)
    return nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))


def test_a_scene_at_rest_is_seen_as_one_gray_frame_of_it() -> None:
    colour, stack = net(3), net(4)
    notes = weights.load(stack, colour.state_dict(), "3", "net.pth")
    assert any("summed over its three channels and divided among 4" in note for note in notes)
    frame = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(stack(frame.expand(-1, 4, -1, -1)), colour(frame.expand(-1, 3, -1, -1)))
