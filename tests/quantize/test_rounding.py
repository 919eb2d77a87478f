"""Rounding by the outputs of a layer: what a hand, and every combination of a small layer, gives."""

from __future__ import annotations

import itertools

import torch

from edgeft.quantize.rounding import Moments, rounded


def moments(x: torch.Tensor, weight: torch.Tensor, floating: torch.Tensor | None = None) -> Moments:
    """Of inputs (N, K), where the float network has those of `floating`."""
    y = (x if floating is None else floating) @ weight.T
    return Moments((x.T @ x / len(x))[None], (y.T @ x / len(x))[None])


def error(x: torch.Tensor, weight: torch.Tensor, integers: torch.Tensor, scale: torch.Tensor) -> float:
    return float((x @ (integers * scale - weight).T).pow(2).mean())


def test_two_equal_inputs_share_the_rounding() -> None:
    """0.4 + 0.4 of one value is 0.8 of it: the nearest integers give 0, one of each way gives 1."""
    x = torch.tensor([[1.0, 1.0], [2.0, 2.0], [-3.0, -3.0]])
    weight = torch.tensor([[0.4, 0.4]])
    integers = rounded(weight[None], torch.ones(1, 1, 2), -7, 7, moments(x, weight))
    assert integers.sum() == 1 and set(integers.flatten().tolist()) == {0.0, 1.0}


def test_weights_of_independent_inputs_go_to_the_nearest() -> None:
    x, weight = torch.eye(3), torch.tensor([[0.4, -1.3, 2.6], [0.6, 6.7, -8.5]])
    integers = rounded(weight[None], torch.ones(1, 2, 3), -7, 7, moments(x, weight))
    assert integers.tolist() == [[[0, -1, 3], [1, 7, -7]]], "and those beyond the grid to its end"


def test_most_of_what_any_combination_could_bring_is_reached() -> None:
    """Eight weights on inputs of three dimensions: 256 combinations a row, not all of which flips find."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(200, 3, generator=draw) @ torch.randn(3, 8, generator=draw)
    weight, scale = torch.randn(16, 8, generator=draw), torch.full((16, 8), 0.5)
    integers = rounded(weight[None], scale[None], -7, 7, moments(x, weight))[0]
    floor = (weight / scale).floor()
    assert set((integers - floor).flatten().tolist()) <= {0.0, 1.0}

    best = nearest = reached = 0.0
    for row in range(16):
        of = (x, weight[row : row + 1])
        ups = itertools.product((0.0, 1.0), repeat=8)
        best += min(error(*of, floor[row] + torch.tensor(up), scale[:1]) for up in ups)
        usual = error(*of, (weight[row] / scale[row]).round(), scale[:1])
        chosen = error(*of, integers[row], scale[:1])
        assert chosen <= usual + 0.01, "apart from the damping"
        nearest, reached = nearest + usual, reached + chosen
    assert reached - best < 0.2 * (nearest - best), (best, reached, nearest)


def test_what_the_layers_before_have_lost_is_made_up_for() -> None:
    """The quantized network has 0.9 of every input: 10 times 1 / 0.9 is 11.1, which rounds to 11 steps of 1."""
    draw = torch.Generator().manual_seed(0)
    floating = torch.randn(100, 1, generator=draw)
    weight = torch.tensor([[10.5]])
    integers = rounded(weight[None], torch.ones(1, 1, 1), -127, 127, moments(0.9 * floating, weight, floating))
    assert integers.item() == 11, "the nearest one, with ties to even, is 10"
