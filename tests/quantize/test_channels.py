"""Outlier channels: a factor a channel keeps the function, saves the small channels, and reaches the lowered graph."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from edgeft.config.scheme import Scheme
from edgeft.graph.from_torch import capture_float
from edgeft.quantize import channels
from edgeft.quantize.graph import QuantizedGraph, insert
from edgeft.quantize.lower import integer_weights, lower
from edgeft.quantize.ranges import calibrate

WIDTH = 16


class Block(nn.Module):
    """A feed-forward block with a residual, whose last layer writes a hundredfold into channel 3."""

    def __init__(self, shared: bool = False) -> None:
        super().__init__()
        self.norm, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.up, self.down, self.head = nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH), nn.Linear(WIDTH, 4)
        self.shared = shared
        with torch.no_grad():
            self.down.weight[3] *= 100
            self.down.bias[3] *= 100
            self.norm.weight[5] *= 30
            self.after.weight[3] *= 0.1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        y = x + self.down(torch.relu(self.up(x)))
        if self.shared:
            y = y + self.down(torch.relu(self.up(y)))
        return self.head(self.after(y))


def made(shared: bool = False) -> tuple[Block, QuantizedGraph, list[tuple[torch.Tensor]]]:
    torch.manual_seed(0)
    net = Block(shared).eval()
    data = [(torch.randn(8, 6, WIDTH),) for _ in range(4)]
    return net, insert(capture_float(net, data[0]), Scheme()), data


def noise(net: Block, graph: QuantizedGraph, x: torch.Tensor) -> float:
    with torch.no_grad():
        want = net(x)
        return float((graph.module(x) - want).pow(2).mean() / want.pow(2).mean())


def calibrated(graph: QuantizedGraph, data: list[tuple[torch.Tensor]]) -> None:
    graph.calibrate_weights("mse")
    calibrate(graph.module, lambda: iter(data))


def test_the_float_network_stays_the_same_to_the_bit_and_so_do_its_parameters() -> None:
    _, graph, data = made()
    before = {n: p.clone() for n, p in graph.module.named_parameters()}
    graph.set_mode("off")
    want = graph.module(*data[0])
    graph.spread_channels(lambda: iter(data))
    graph.set_mode("off")
    assert torch.equal(graph.module(*data[0]), want)
    assert all(torch.equal(p, before[n]) for n, p in graph.module.named_parameters())
    kinds = [(s.weights, s.rows) for s in graph.spreads]
    assert (("down.weight",), True) in kinds and (("up.weight",), False) in kinds
    factor = graph.module.get_submodule(next(s.outside for s in graph.spreads if s.rows)).factor
    assert isinstance(factor, torch.Tensor) and int(factor.argmax()) == 3 and float(factor[3]) >= 32
    assert torch.equal(factor.log2(), factor.log2().round()), "powers of two"


def test_small_channels_are_no_longer_lost() -> None:
    net, graph, data = made()
    calibrated(graph, data)
    plain = noise(net, graph, data[0][0])
    _, graph, _ = made()
    graph.spread_channels(lambda: iter(data))
    calibrated(graph, data)
    assert noise(net, graph, data[0][0]) < 0.2 * plain


@pytest.mark.parametrize("form", ["int", "qdq"])
def test_the_lowered_graph_is_the_trained_one(form: str) -> None:
    _, graph, data = made()
    graph.spread_channels(lambda: iter(data))
    calibrated(graph, data)
    lowered = lower(graph, form)
    assert torch.allclose(lowered(*data[0]), graph.module(*data[0]), atol=1e-5)
    if form == "int":
        assert torch.equal(lowered(*data[0]), graph.module(*data[0]))
    calls = {str(n.target) for n in lowered.graph.nodes if n.op == "call_module"}
    assert not calls, "factors of weights and biases are folded, those of values are products"
    stored = {w.name: w for w in integer_weights(graph)}
    down = stored["down.weight"]
    assert abs(down.data[3]).max() > 100, "the outlier row uses its whole grid"


def test_gradients_are_those_of_the_parameters_own_size() -> None:
    """An outlier row learns as before, though what is rounded is a hundredth of it."""
    _, graph, data = made()
    graph.spread_channels(lambda: iter(data))
    calibrated(graph, data)
    weight = graph.module.get_parameter("down.weight")
    graph.module(*data[0]).pow(2).sum().backward()
    assert weight.grad is not None and bool((weight.grad[3] != 0).any())
    (spread,) = [s for s in graph.spreads if s.rows]
    assert graph.weights()["down.weight"].row_factor is not None and spread.bias


def test_a_weight_that_another_op_reads_is_left_alone() -> None:
    _, graph, data = made(shared=True)
    assert all("down.weight" not in s.weights and "up.weight" not in s.weights for s in graph.spreads)
    graph.spread_channels(lambda: iter(data))
    calibrated(graph, data)
    assert torch.isfinite(graph.module(*data[0])).all()


def test_a_net_without_norms_and_float_adds_gets_no_factors() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    graph = insert(capture_float(net, (torch.randn(2, 8),)), Scheme())
    assert not graph.spreads and not any("factor" in n for n, _ in graph.module.named_buffers())


def test_factors_bring_channels_near_their_median() -> None:
    top = torch.tensor([1.0, 100.0, 0.0, 0.01, 1.0])
    found = channels.factors(top)
    assert found.tolist() == [1.0, 128.0, 1.0, 2.0**-6, 1.0], "a silent channel keeps a factor of 1"
    shared = channels.factors(top, torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0]))
    assert shared.tolist() == [1.0, 8.0, 1.0, 2.0**-3, 1.0], "weights take half of the burden"


class Controls(nn.Module):
    """Steering, and a throttle a fiftieth as wide, far from zero."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(WIDTH, 32), nn.Linear(32, 2)
        with torch.no_grad():
            self.head.weight[1] *= 0.02
            self.head.bias[1] = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(x)))


def controls(apart: bool) -> tuple[Controls, QuantizedGraph, list[tuple[torch.Tensor]]]:
    torch.manual_seed(0)
    net, data = Controls().eval(), [(torch.randn(64, WIDTH),) for _ in range(4)]
    graph = insert(dataclasses.replace(capture_float(net, data[0]), apart=apart), Scheme())
    graph.spread_channels(lambda: iter(data))
    calibrated(graph, data)
    return net, graph, data


def test_each_output_has_steps_of_its_own_where_they_mean_different_things() -> None:
    net, graph, data = controls(apart=False)
    shared = graph.output_steps()["output"]
    assert isinstance(shared, float)
    _, graph, _ = controls(apart=True)
    wide, narrow = graph.output_steps()["output"]  # type: ignore[misc]
    assert wide <= 2 * shared and narrow <= shared / 16, "a power of two, and within a factor of two of its own range"
    with torch.no_grad():
        off = (graph.module(data[0][0]) - net(data[0][0])).abs()
    assert float(off[:, 1].max()) < shared / 2, "finer than a step of the common grid"
    assert torch.equal(lower(graph, "int")(data[0][0]), graph.module(data[0][0]))


def test_one_output_alone_gets_no_factor() -> None:
    torch.manual_seed(0)
    net, example = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, 1)).eval(), (torch.randn(4, WIDTH),)
    graph = insert(dataclasses.replace(capture_float(net, example), apart=True), Scheme())
    assert not graph.spreads
