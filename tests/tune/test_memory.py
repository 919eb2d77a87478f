"""Saved bytes and moving bytes against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeft.tune.memory import SavedBytes, moving_bytes


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_bytes_that_a_small_net_saves(rows: int) -> None:
    module = net()
    with SavedBytes(module.parameters()) as saved:
        module(torch.randn(rows, 4)).sum()
    # the first linear keeps its input, relu its result, which is the very tensor that the second linear keeps
    assert saved.total == rows * 4 * 4 + rows * 3 * 4


def test_a_frozen_linear_saves_nothing_for_its_own_weight() -> None:
    module = net()
    module[0].requires_grad_(False)
    module[1] = nn.Identity()
    with SavedBytes(module.parameters()) as saved:
        module(torch.randn(5, 4)).sum()
    assert saved.total == 5 * 3 * 4, "only the input of the layer that learns"
    module.requires_grad_(False)
    with SavedBytes(module.parameters()) as saved:
        module(torch.randn(5, 4)).sum()
    assert saved.total == 0


def test_a_view_counts_its_storage_once_and_whole() -> None:
    weight = nn.Parameter(torch.ones(3))
    base = torch.randn(2, 3)
    with SavedBytes([weight]) as saved:
        (base[0] * weight).sum() + (base[1] * weight).sum()
    assert saved.total == 2 * 3 * 4


def test_bytes_that_move() -> None:
    module = net()
    parameters = 4 * 3 + 3 + 3 * 2 + 2
    assert moving_bytes(module, 2) == parameters * 4 * 4  # AdamW: weight, gradient, two moments
    assert moving_bytes(module, 1) == parameters * 4 * 3  # SGD with momentum
    module[0].requires_grad_(False)
    assert moving_bytes(module, 1) == (3 * 2 + 2) * 4 * 3
