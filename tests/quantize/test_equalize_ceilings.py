"""Equalization through ReLU6: the quantized graph is that of the exact function, with a ceiling a channel."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import fx, nn

from edgeft.config.scheme import Scheme
from edgeft.quantize import equalize
from edgeft.quantize.channel_groups import Group
from edgeft.quantize.lower import lower
from edgeft.quantize.noise import signal_to_noise
from edgeft.quantize.parts import QuantizedParts, calibrate_parts, capture_parts, insert_parts

WIDTH = 24
#: channels that reach the ceiling of 6
LOUD = 3


class Inverted(nn.Module):
    """A stem and two inverted residuals of MobileNetV2, without BatchNorm, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Linear(8, 5)
        self.expand, self.project = (
            nn.ModuleList(nn.Conv2d(*io, 1) for _ in range(2)) for io in ((8, WIDTH), (WIDTH, 8))
        )
        self.depthwise = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH) for _ in range(2))
        self.act = nn.ReLU6()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.stem(x))
        for expand, depthwise, project in zip(self.expand, self.depthwise, self.project):
            x = x + project(self.act(depthwise(self.act(expand(x)))))
        return self.head(x.mean((2, 3)))


def network(decades: int = 0) -> nn.Module:
    """Some channels behind each ReLU6 are cut off at 6, the others are divided by up to `decades` powers of ten, which
    is made up for behind them."""
    torch.manual_seed(0)
    net = Inverted()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for expand, depthwise, project in zip(net.expand, net.depthwise, net.project):
            for layer, reader in ((expand, depthwise), (depthwise, project)):
                layer.weight[:LOUD] *= 24
                by = torch.exp2((torch.rand(WIDTH, generator=draw) * decades * 3.32).round())
                by[:LOUD] = 1
                layer.weight.div_(by.view(-1, 1, 1, 1))
                layer.bias.div_(by)
                reader.weight.mul_(by.view((-1, 1, 1, 1) if reader.groups > 1 else (1, -1, 1, 1)))

    return net.eval()


def pictures(size: float = 1.0) -> Iterator[tuple[torch.Tensor]]:
    draw = torch.Generator().manual_seed(2)
    return iter([(size * torch.randn(8, 3, 16, 16, generator=draw),) for _ in range(3)])


def calibrate(parts: QuantizedParts) -> None:
    parts.calibrate_weights("mse")
    calibrate_parts(parts, pictures, estimator="mse", percentile=99.9)


def calibrated(net: nn.Module) -> QuantizedParts:
    parts = insert_parts(capture_parts(net, next(pictures())), Scheme())
    calibrate(parts)
    return parts


def noise(parts: QuantizedParts) -> float:
    return signal_to_noise(parts.module, parts.set_mode, pictures)


def test_badly_scaled_channels_behind_a_relu6_come_out_as_well_scaled_ones_do() -> None:
    (x,) = next(pictures())
    well, badly = calibrated(network()), calibrated(network(3))
    torch.testing.assert_close(badly.captured.module(x), well.captured.module(x), rtol=0, atol=0)
    assert noise(badly) < noise(well) - 8

    gain = badly.equalize(pictures, lambda: calibrate(badly))
    assert gain is not None and gain.groups == 4 and noise(badly) > noise(well) - 2
    badly.set_mode("off")
    assert torch.equal(badly.module(x), badly.captured.module(x)), "the same function on the calibration samples"
    badly.set_mode("quantize")
    assert torch.equal(lower(badly.graphs["main"])(x), badly.module(x))


class Ceilings(nn.Module):
    """A ReLU with an upper end a channel."""

    def __init__(self, tops: torch.Tensor) -> None:
        super().__init__()
        self.tops = tops.view(1, -1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.minimum(torch.relu(x), self.tops)


def with_ceilings(module: fx.GraphModule, plan: list[tuple[Group, torch.Tensor]]) -> fx.GraphModule:
    """The exact function: a channel that was divided by f is cut off at 6 / f."""
    exact = copy.deepcopy(module)
    factor_of = {name: factor for group, factor in plan for name in group.ceilings}
    for index, node in enumerate(list(exact.graph.nodes)):
        grids = [str(user.target) for user in node.users]
        if node.op == "call_function" and grids and grids[0] in factor_of:
            exact.add_submodule(f"ceilings{index}", Ceilings(6 / factor_of[grids[0]]))
            with exact.graph.inserting_after(node):
                cut = exact.graph.call_module(f"ceilings{index}", (node.all_input_nodes[0],))
            node.replace_all_uses_with(cut)

    exact.recompile()
    return exact


@pytest.mark.parametrize("size", [1.0, 300.0])
def test_the_grid_clips_before_any_ceiling_does(size: float) -> None:
    """Also for inputs three hundred times as large as those that were calibrated with."""
    parts = calibrated(network(3))
    graph = parts.graphs["main"]
    parts.set_mode("off")
    plan = equalize.planned(graph, pictures)
    assert len(plan) == 4 and all(group.ceilings and factor.max() <= 1 for group, factor in plan)
    equalize.fold(graph, plan)
    calibrate(parts)
    exact = with_ceilings(graph.module, plan)

    (x,) = next(pictures(size))
    assert torch.equal(exact(x), graph.module(x)), "the plain ReLU6 gives the integers of the exact ceilings"
    assert all(fake.ceiling is None or fake.parameters_of_grid()[0] * 255 <= 6 for fake in parts.activations().values())
    for name in ("off", "quantize"):
        for fake in (*exact.modules(), *graph.module.modules()):
            if hasattr(fake, "mode"):
                fake.mode = name
        assert name == "quantize" or torch.equal(exact(x), parts.captured.module(x)), "and they are the float function"


class Beside(nn.Module):
    """A ReLU6 whose value shares its grid with one that has no upper end, in a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.other, self.second = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(12, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = nn.functional.relu6(self.first(x)), torch.relu(self.other(x))
        return self.second(torch.cat(both, 1)).mean((2, 3))


def test_a_relu6_without_a_grid_that_ends_there_keeps_its_channels() -> None:
    batch = next(pictures())
    (graph,) = insert_parts(capture_parts(Beside().eval(), batch), Scheme()).graphs.values()
    assert [group.writers for group in equalize.groups(graph)] == [[("other.weight", "other.bias")]]


def test_silent_channels_and_ceilings_that_all_reach_are_survived() -> None:
    net = network(2)
    with torch.no_grad():
        net.expand[0].weight[5:9] = 0
        net.expand[0].bias[5:9] = -1
        net.depthwise[1].weight.mul_(1000)
    parts = calibrated(net)
    (x,) = next(pictures())
    parts.equalize(pictures, lambda: calibrate(parts))
    assert torch.isfinite(parts.module(x)).all()
    parts.set_mode("off")
    assert torch.equal(parts.module(x), parts.captured.module(x))
