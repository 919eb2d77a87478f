"""Weights that a module computes, parallel branches, and norms in other places than behind a convolution."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from quantize_nets import HOST, calibrated, op_name, seeded, settled
from torch import nn
from torch.nn.utils import parametrizations

from edgeft.graph.captured import Captured
from edgeft.graph.from_torch import capture_float
from edgeft.quantize.graph import insert
from edgeft.tune import updates

IMAGES = (seeded(2, 3, 8, 8, seed=1),)


def ops(captured: Captured) -> list[str]:
    return [op_name(n).split(".")[0] for n in captured.module.graph.nodes if n.op == "call_function"]


def same(net: nn.Module, captured: Captured, x: torch.Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(captured.module(x), net(x), rtol=1e-4, atol=1e-5)


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nn.utils.weight_norm(layer)


class Standardized(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


class ScaledByNorm(nn.Conv2d):
    """timm's: the norm of a batch whose samples are the weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(rows, None, None, training=True, momentum=0.0).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias)


COMPUTED: dict[str, Callable[[], nn.Module]] = {
    "weight_norm": lambda: parametrizations.weight_norm(nn.Conv2d(3, 8, 3)),
    "weight_norm of old": lambda: old_weight_norm(nn.Conv2d(3, 8, 3)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Conv2d(3, 8, 3)),
    "spectral_norm of old": lambda: torch.nn.utils.spectral_norm(nn.Conv2d(3, 8, 3)),
    "standardized": lambda: Standardized(3, 8, 3),
    "standardized by a norm": lambda: ScaledByNorm(3, 8, 3),
}


@pytest.mark.parametrize("kind", COMPUTED)
def test_a_computed_weight_is_one_tensor_by_its_layers_name(kind: str) -> None:
    net = settled(nn.Sequential(COMPUTED[kind](), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2)))
    captured = capture_float(net, IMAGES)
    assert ops(captured) == ["conv2d", "relu", "flatten", "linear"]
    assert {name for name, _ in captured.module.named_parameters()} == {"0.weight", "0.bias", "4.weight", "4.bias"}
    same(net, captured, *IMAGES)


def test_a_policy_that_trains_the_parts_of_a_weight_trains_the_computed_one() -> None:
    layers = [parametrizations.weight_norm(nn.Linear(4, 4)), nn.ReLU(), parametrizations.weight_norm(nn.Linear(4, 2))]
    net = settled(nn.Sequential(*layers))
    graph = insert(capture_float(net, (seeded(2, 4),)), HOST)
    learned = updates.names_in_graph(graph, net, "2", "head")
    assert "2.weight" in learned and "0.weight" not in learned


class RepVgg(nn.Module):
    """Convolution, 1x1 convolution and identity, each with a norm; depthwise ones of which several are summed."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.large = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=groups, bias=False), nn.BatchNorm2d(8)) for _ in range(2)
        )
        self.small = nn.Sequential(nn.Conv2d(8, 8, 1, groups=groups, bias=False), nn.BatchNorm2d(8))
        self.stem, self.identity = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return F.relu(sum(layer(x) for layer in self.large) + self.small(x) + self.identity(x))


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_parallel_convolutions_become_one(groups: int) -> None:
    net = settled(RepVgg(groups))
    captured = capture_float(net, IMAGES)
    assert ops(captured) == ["conv2d", "conv2d", "relu"]
    assert {name for name, _ in captured.module.named_parameters()} == {
        "stem.weight", "stem.bias", "large.0.0.weight", "large.0.0.bias",
    }  # fmt: skip
    same(net, captured, *IMAGES)


class Shortcut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(3, 8, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.a(x))) + self.c(x)


def test_branches_of_different_inputs_stay_apart() -> None:
    assert ops(capture_float(settled(Shortcut()), IMAGES)).count("conv2d") == 3


class Levit(nn.Module):
    """Norms behind linear layers that look at tokens as rows, and before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8)
        self.second, self.norm2 = nn.Linear(8, 5), nn.BatchNorm1d(5)
        self.norm3, self.head = nn.BatchNorm1d(5), nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        y = F.hardswish(self.norm1(y.flatten(0, 1)).reshape_as(y))
        y = self.norm2(self.second(y).transpose(1, 2))
        return self.head(self.norm3(y.mean(2)))


def test_norms_of_tokens_go_into_the_linear_layers() -> None:
    net = settled(Levit())
    x = seeded(3, 7, 6, seed=4)
    captured = capture_float(net, (x,))
    assert "batch_norm" not in ops(captured) and ops(captured).count("linear") == 3
    same(net, captured, x)


def test_a_norm_of_the_inputs_stays_before_the_weights() -> None:
    """Folded into them, one grid would have to hold columns of very different sizes."""
    net = settled(nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 2)))
    assert ops(capture_float(net, (seeded(3, 6),))) == ["batch_norm", "linear"]


def test_a_norm_of_one_channel_is_a_product_and_a_sum() -> None:
    """A convolution with one weight would be no layer to runtimes, and the integer gate would miss its weights."""
    net = settled(nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3, padding=1)))
    x = seeded(2, 1, 8, 8, seed=3)
    graph = calibrated(net, (x,), HOST)
    assert ops(graph.captured) == ["mul", "add", "conv2d"] and not graph.summary.float_ops
    same(net, graph.captured, x)
