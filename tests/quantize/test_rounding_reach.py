"""How far rounding alone moves the outputs: hardly in a convolutional net, further where float norms stand between."""

from __future__ import annotations

import torch
from torch import nn

from edgeft.config.scheme import Scheme
from edgeft.quantize.graph import prepare
from edgeft.quantize.ranges import calibrate
from edgeft.quantize.sensitivity import rounding_reach


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.one, self.two = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.two(nn.functional.gelu(self.one(self.norm(x))))


def reach(net: nn.Module, x: torch.Tensor) -> tuple[float, float]:
    graph = prepare(net.eval(), (x[:2],), Scheme())
    graph.calibrate_weights("minmax")
    calibrate(graph.module, lambda: [(x,)], estimator="minmax")
    before = graph.module(x)
    (found,) = rounding_reach(graph, (x,)).values()
    assert torch.equal(graph.module(x), before), "nothing of the nudging stays"
    return found


def test_a_convolutional_net_stays_within_the_fixed_limits() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 4)]
    median, tail = reach(nn.Sequential(*layers), torch.randn(16, 3, 8, 8))
    assert median <= 2 / 3 and tail <= 2


def test_float_norms_between_integers_spread_every_flip() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 16)
    shallow = reach(nn.Sequential(Block(), nn.Linear(16, 4)), x)
    deep = reach(nn.Sequential(*(Block() for _ in range(12)), nn.Linear(16, 4)), x)
    assert deep[1] >= shallow[1] and deep[1] >= 1
    assert reach(nn.Sequential(Block(), nn.Linear(16, 4)), x) != (0.0, 0.0)
