"""Cross-layer equalization: the same float function to the bit, and small channels that no longer vanish."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from edgeft.config.scheme import Scheme, SchemeTable
from edgeft.graph.from_torch import capture_float
from edgeft.quantize import equalize
from edgeft.quantize.graph import QuantizedGraph, insert
from edgeft.quantize.lower import lower
from edgeft.quantize.noise import signal_to_noise
from edgeft.quantize.parts import GAIN, QuantizedParts, calibrate_parts, capture_parts, insert_parts

Batch = tuple[torch.Tensor]


class Block(nn.Module):
    """Two convolutions beside a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class Residual(nn.Module):
    """A stem, two residual blocks, a depthwise pair with ReLU, and a linear head on 2 x 2 flattened pixels."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.pointwise = nn.Conv2d(width, 8, 1)
        self.head = nn.Linear(8 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(torch.relu(self.stem(x)))
        x = torch.relu(self.pointwise(torch.relu(self.depthwise(x))))
        return self.head(torch.flatten(torch.nn.functional.adaptive_avg_pool2d(x, 2), 1))


def spread(net: Residual, decades: float = 3.0) -> Residual:
    """The same function with channels that differ by `decades` powers of ten: factors are powers of two."""
    draw = torch.Generator().manual_seed(1)

    def factor(n: int) -> torch.Tensor:
        return torch.exp2((torch.rand(n, generator=draw) * decades * 3.32).round())

    def move(writers: list[nn.Module], readers: list[tuple[nn.Module, int]], n: int) -> None:
        by = factor(n)
        for layer in writers:
            layer.weight.mul_(by.view(-1, 1, 1, 1))
            layer.bias.mul_(by)
        for layer, repeat in readers:
            shape = (1, -1) if layer.weight.dim() == 2 else (1, -1, 1, 1)
            shape = (-1, 1, 1, 1) if getattr(layer, "groups", 1) > 1 else shape
            layer.weight.div_(by.repeat_interleave(repeat).view(shape))

    with torch.no_grad():
        blocks = list(net.blocks)
        move([net.stem, *(b.second for b in blocks)], [(b.first, 1) for b in blocks] + [(net.depthwise, 1)], 16)
        for block in blocks:
            move([block.first], [(block.second, 1)], 16)
        move([net.depthwise], [(net.pointwise, 1)], 16)
        move([net.pointwise], [(net.head, 4)], 8)
    return net


def pictures() -> Iterator[Batch]:
    draw = torch.Generator().manual_seed(2)
    return iter([(torch.randn(8, 3, 12, 12, generator=draw),) for _ in range(3)])


def network() -> Residual:
    torch.manual_seed(0)
    return Residual().eval()


def calibrated(net: nn.Module, scheme: Scheme | None = None) -> QuantizedParts:
    parts = insert_parts(capture_parts(net, next(pictures())), scheme or Scheme())
    calibrate(parts)
    return parts


def calibrate(parts: QuantizedParts) -> None:
    parts.calibrate_weights("mse")
    calibrate_parts(parts, pictures, estimator="mse", percentile=99.9)


def noise(parts: QuantizedParts) -> float:
    return signal_to_noise(parts.module, parts.set_mode, pictures)


def graph_of(net: nn.Module, *inputs: torch.Tensor) -> QuantizedGraph:
    return insert(capture_float(net.eval(), inputs or next(pictures())), Scheme())


def test_badly_scaled_channels_come_out_as_the_well_scaled_ones_do() -> None:
    (x,) = next(pictures())
    well, badly = calibrated(network()), calibrated(spread(network()))
    torch.testing.assert_close(badly.captured.module(x), well.captured.module(x), rtol=0, atol=0)
    assert noise(badly) < noise(well) - 10

    gain = badly.equalize(pictures, lambda: calibrate(badly))
    assert gain is not None and gain.groups >= 4
    assert noise(badly) > noise(well) - 1.5, "as good as the network that was never spoiled"
    assert gain.after_db == pytest.approx(noise(badly), abs=1e-6) and gain.after_db > gain.before_db + GAIN

    badly.set_mode("off")
    assert torch.equal(badly.module(x), badly.captured.module(x)), "the float function is the same to the bit"
    badly.set_mode("quantize")
    lowered = lower(badly.graphs["main"])
    assert torch.equal(lowered(x), badly.module(x)), "and the integers are those that are lowered"


def test_one_scale_for_all_rows_is_equalized_too() -> None:
    badly = calibrated(spread(network()), SchemeTable(per_tensor=("conv", "depthwise", "linear")).scheme())
    before = noise(badly)
    gain = badly.equalize(pictures, lambda: calibrate(badly))
    assert gain is not None and noise(badly) > before + 15


def test_a_network_that_gains_nothing_stays_as_it_is() -> None:
    parts = calibrated(network())
    before = {name: value.clone() for name, value in parts.module.state_dict().items()}
    assert parts.equalize(pictures, lambda: calibrate(parts)) is None
    assert all(torch.equal(before[name], value) for name, value in parts.module.state_dict().items())


def test_silent_and_loud_channels_are_survived() -> None:
    net = network()
    with torch.no_grad():
        net.stem.weight[:9] = 0  # most are silent
        net.stem.bias[:9] = -1
        net.blocks[0].first.weight[3] *= 1024
        net.blocks[0].first.bias[3] *= 1024
        net.blocks[0].second.weight[:, 3] /= 1024
    parts = calibrated(net)
    (x,) = next(pictures())
    gain = parts.equalize(pictures, lambda: calibrate(parts))
    assert gain is not None and torch.isfinite(parts.module(x)).all()
    parts.set_mode("off")
    assert torch.equal(parts.module(x), parts.captured.module(x))


def test_a_silent_channel_whose_reader_is_loud_spares_the_other_weights() -> None:
    """Its column of weights a thousand times the others would be all that a row's scale resolves."""

    def net(size: float) -> nn.Module:
        torch.manual_seed(0)
        net = Between(nn.ReLU())
        with torch.no_grad():
            net.first.weight[2], net.first.bias[2] = 0.0, -1.0
            net.second.weight[:, 2] *= size
        return net.eval()

    plain, loud = calibrated(net(1.0)), calibrated(net(1024.0))
    assert noise(loud) < noise(plain) - 15
    assert loud.equalize(pictures, lambda: calibrate(loud)) is not None and noise(loud) > noise(plain) - 1.5
    loud.set_mode("off")
    (x,) = next(pictures())
    assert torch.equal(loud.module(100 * x), loud.captured.module(100 * x))


def test_groups_are_the_layers_that_share_channels() -> None:
    found = {tuple(sorted(w for w, _ in g.writers)): g for g in equalize.groups(graph_of(network()))}
    residual = found["blocks.0.second.weight", "blocks.1.second.weight", "stem.weight"]
    assert {(r.weight, r.axis, r.own) for r in residual.readers} == {
        ("blocks.0.first.weight", 1, False),
        ("blocks.1.first.weight", 1, False),
        ("depthwise.weight", 0, True),
    }
    (head,) = found["pointwise.weight",].readers
    assert (head.weight, head.axis, head.repeat) == ("head.weight", 1, 4)
    assert len(found) == 5


class Between(nn.Module):
    """Two convolutions and what stands between them."""

    def __init__(self, op: nn.Module) -> None:
        super().__init__()
        self.first, self.op, self.second = nn.Conv2d(3, 6, 3), op, nn.Conv2d(6, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.op(self.first(x))).mean((2, 3))


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1.0


@pytest.mark.parametrize("op", [nn.Hardtanh(-1, 6), nn.Sigmoid(), nn.Hardswish(), nn.Softmax(1), nn.SiLU(), Doubled()])
def test_an_op_that_is_not_homogeneous_keeps_its_channels(op: nn.Module) -> None:
    assert equalize.groups(graph_of(Between(op))) == []


@pytest.mark.parametrize(
    "op", [nn.ReLU(), nn.LeakyReLU(0.1), nn.PReLU(6), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Identity()]
)
def test_an_op_that_is_homogeneous_lets_them_be_scaled(op: nn.Module) -> None:
    net = Between(op)
    graph = graph_of(net)
    (group,) = equalize.groups(graph)
    assert group.writers == [("first.weight", "first.bias")] and group.readers[0].weight == "second.weight"
    equalize.fold(graph, [(group, torch.exp2(torch.arange(6.0) - 3))])
    graph.set_mode("off")
    (x,) = next(pictures())
    assert torch.equal(graph.module(x), graph.captured.module(x))


class Joined(nn.Module):
    """Two convolutions of two channels, one behind another with the pixels themselves, and what reads all five."""

    def __init__(self, residual: bool = False) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(1, 2, 1, bias=False) for _ in range(2))
        self.third = nn.Conv2d(1, 5, 1) if residual else None
        self.depthwise, self.head = nn.Conv2d(5, 5, 3, groups=5), nn.Conv2d(5, 1, 1)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([1.0, 1 / 16]).view(2, 1, 1, 1))
            self.second.weight.copy_(torch.tensor([1 / 64, -1.0]).view(2, 1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.cat([torch.nn.functional.leaky_relu(self.first(x), 0.5), x], 1)
        joined = torch.cat([inner, self.second(x)], 1)
        if self.third is not None:
            joined = joined + self.third(x)
        return (self.head(torch.relu(joined)) + self.depthwise(joined).mean(1, keepdim=True).mean()).mean((2, 3))


def test_a_concatenation_gives_its_readers_columns_of_several_groups() -> None:
    net = Joined().eval()
    with torch.no_grad():
        net.head.weight.fill_(1.0)
    x = torch.linspace(-1, 1, 32).view(2, 1, 4, 4)
    graph = graph_of(net, x)
    graph.set_mode("off")

    plan = {group.writers[0][0]: (group, factor) for group, factor in equalize.planned(graph, lambda: iter([(x,)]))}

    # Channels of 1 and 1/16 (1/64) beside columns of equal size: half of the 4 (6) powers of two.
    assert {name: factor.tolist() for name, (_, factor) in plan.items()} == {
        "first.weight": [4.0, 1.0],
        "second.weight": [1.0, 8.0],
    }
    assert {(r.weight, r.axis, r.start) for r in plan["second.weight"][0].readers} == {
        ("head.weight", 1, 3),
        ("depthwise.weight", 0, 3),
    }
    equalize.fold(graph, plan.values())
    assert graph.module.get_parameter("head.weight").flatten().tolist() == [4.0, 1.0, 1.0, 1.0, 8.0]
    assert torch.equal(graph.module(x), graph.captured.module(x))


def test_channels_that_are_added_to_a_concatenation_stay() -> None:
    x = torch.linspace(-1, 1, 32).view(2, 1, 4, 4)
    assert equalize.groups(graph_of(Joined(residual=True), x)) == []


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.twice(self.twice(self.stem(x)))).mean((2, 3))


def test_a_layer_that_is_used_twice_keeps_its_channels() -> None:
    names = {w for group in equalize.groups(graph_of(Shared())) for w, _ in group.writers}
    assert names == set()


class Lengths(nn.Module):
    """Sizes that are computed, constants, and an op without inputs, beside layers that could be scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.register_buffer("constant", torch.ones(2, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(x.shape[1]).to(x.dtype)
        x = torch.relu(self.first(x)).view(x.shape[0] * x.shape[1], 6)
        return self.second(x + self.constant.mean(0)).view(-1, places.shape[0], 6) + places[:, None]


def test_computed_sizes_and_constants_are_survived() -> None:
    assert equalize.groups(graph_of(Lengths(), torch.randn(2, 5, 6))) == []
