"""Numbers in front of concatenations, and pools that not every runtime has, in ops that are quantized everywhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from quantize_nets import HOST, calibrated, op_name, seeded, settled
from torch import nn

from edgeft.graph.captured import Captured
from edgeft.graph.from_torch import capture_float

MAPS = (seeded(2, 4, 9, 12, seed=1),)


class Branches(nn.Module):
    """Two convolutions, joined by `join(p, q)`, then a 1x1 convolution."""

    def __init__(self, join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], channels: int = 8) -> None:
        super().__init__()
        self.p, self.q, self.out = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(channels, 2, 1)
        self.join = join

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.join(self.p(x), self.q(x)))


def ops(captured: Captured) -> list[str]:
    return [op_name(n).split(".")[0] for n in captured.module.graph.nodes if n.op == "call_function"]


ABSORBED = {
    "product": lambda p, q: torch.cat([p, q * 3.0], 1),
    "quotient": lambda p, q: torch.cat([p / 4, q], 1),
    "sum": lambda p, q: torch.cat([p, q + 0.5], 1),
    "difference": lambda p, q: torch.cat([p - 1, q], 1),
    "behind a relu": lambda p, q: torch.cat([F.relu(p) * 2.0, q], 1),
}


@pytest.mark.parametrize("kind", ABSORBED)
def test_a_number_before_a_concatenation_goes_into_the_layer(kind: str) -> None:
    net = settled(Branches(ABSORBED[kind]))
    captured = capture_float(net, MAPS)
    assert set(ops(captured)) <= {"conv2d", "relu", "cat"}
    with torch.no_grad():
        torch.testing.assert_close(captured.module(*MAPS), net(*MAPS), rtol=1e-4, atol=1e-5)


def test_a_number_without_a_layer_before_it_is_quantized_as_a_constant() -> None:
    net = settled(Branches(lambda p, q: torch.cat([p, F.max_pool2d(q, 3, 1, 1) * 3.0], 1)))
    graph = calibrated(net, MAPS, HOST)
    assert not graph.summary.float_ops
    torch.testing.assert_close(graph.captured.module(*MAPS), net(*MAPS), rtol=1e-4, atol=1e-5)


def test_the_factor_of_a_sum_goes_into_the_layer_too() -> None:
    net = settled(Branches(lambda p, q: torch.add(p, q, alpha=0.5), 4))
    captured = capture_float(net, MAPS)
    assert ops(captured)[-2:] == ["add", "conv2d"] and "mul" not in ops(captured)
    torch.testing.assert_close(captured.module(*MAPS), net(*MAPS), rtol=1e-4, atol=1e-5)


def test_a_product_elsewhere_keeps_its_op() -> None:
    assert "mul" in ops(capture_float(settled(Branches(lambda p, q: p * 3.0 + q, 4)), MAPS))


@pytest.mark.parametrize("size, left", [(1, {"amax"}), ((3, 4), {"max_pool2d"}), ((4, 5), {"slice", "amax", "cat"})])
def test_adaptive_maximum_pools(size: int | tuple[int, int], left: set[str]) -> None:
    net = nn.AdaptiveMaxPool2d(size)
    captured = capture_float(net, MAPS)
    assert set(ops(captured)) == left
    assert torch.equal(captured.module(*MAPS), net(*MAPS))


@pytest.mark.parametrize(
    "pool", [nn.AvgPool1d(3), nn.AvgPool1d(4, 2, 1), nn.AdaptiveAvgPool1d(4), nn.AdaptiveAvgPool1d(1)]
)
def test_average_pools_of_one_axis(pool: nn.Module) -> None:
    x = seeded(2, 4, 12, seed=2)
    captured = capture_float(pool, (x,))
    assert not {"avg_pool1d", "adaptive_avg_pool1d"} & {*ops(captured)}
    torch.testing.assert_close(captured.module(x), pool(x))


RESIZED = {
    "to a size": nn.Upsample(size=(13, 17)),
    "by a factor": nn.Upsample(scale_factor=1.5),
    "exactly": nn.Upsample(size=(13, 17), mode="nearest-exact"),
    "smaller": nn.Upsample(size=(5, 8)),
}


@pytest.mark.parametrize("kind", RESIZED)
def test_resizing_to_no_multiple_takes_the_positions_that_torch_takes(kind: str) -> None:
    captured = capture_float(RESIZED[kind], MAPS)
    assert ops(captured) == ["index_select", "index_select"]
    x = seeded(3, *MAPS[0].shape[1:], seed=3)
    assert torch.equal(captured.module(x), RESIZED[kind](x))


def test_resizing_by_a_whole_factor_keeps_its_op() -> None:
    assert ops(capture_float(nn.Upsample(scale_factor=2), MAPS)) == ["upsample_nearest2d"]
