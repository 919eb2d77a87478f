"""Normal form: BatchNorm folded to the same function, pools in one form, no state that nobody reads."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from quantize_nets import IMAGES, op_name, seeded, settled
from torch import nn

from edgeft.graph.captured import Captured
from edgeft.graph.from_torch import capture_float


def ops(captured: Captured) -> list[str]:
    return [op_name(n) for n in captured.module.graph.nodes if n.op == "call_function"]


def run(captured: Captured, *inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return captured.module(*inputs)


class Net(nn.Sequential):
    """Layers in a row that `torch.export` names by number."""


FOLDED = {
    "conv": (Net(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)), (2, 3, 8, 8)),
    "conv with bias": (Net(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)), (2, 3, 8, 8)),
    "conv1d": (Net(nn.Conv1d(3, 6, 3), nn.BatchNorm1d(6)), (2, 3, 9)),
    "depthwise": (Net(nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.BatchNorm2d(8)), (2, 4, 8, 8)),
    "grouped": (Net(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)), (2, 4, 8, 8)),
    "linear": (Net(nn.Linear(5, 7), nn.BatchNorm1d(7)), (3, 5)),
    "transpose": (Net(nn.ConvTranspose1d(3, 5, 3, stride=2), nn.BatchNorm1d(5)), (2, 3, 6)),
    "transpose, grouped": (Net(nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2), nn.BatchNorm1d(6)), (2, 4, 6)),
    "not affine": (Net(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, affine=False)), (2, 3, 8, 8)),
}


@pytest.mark.parametrize("kind", FOLDED)
def test_a_norm_behind_a_weighted_layer_goes_into_its_weights(kind: str) -> None:
    net, shape = FOLDED[kind]
    settled(net)
    x = seeded(*shape, seed=3)
    captured = capture_float(net, (x,))
    assert len(ops(captured)) == 1 or ("transpose" in kind and "batch_norm" not in {*ops(captured)})
    assert {n for n, _ in captured.module.named_parameters()} == {"0.weight", "0.bias"}
    assert not list(captured.module.named_buffers())
    torch.testing.assert_close(run(captured, x), net(x).detach(), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        net(x * 5)  # eval mode: nothing learned from it
    torch.testing.assert_close(run(captured, x * 5), net(x * 5).detach(), rtol=1e-5, atol=1e-4)


def test_the_folded_numbers_are_those_of_the_formula() -> None:
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.25)
    with torch.no_grad():
        conv.weight.fill_(3.0), conv.bias.fill_(1.0)
        norm.weight.fill_(2.0), norm.bias.fill_(0.5), norm.running_mean.fill_(-4.0), norm.running_var.fill_(2.0)
    captured = capture_float(Net(conv, norm).eval(), (torch.ones(2, 1, 2, 2),))
    scale = 2.0 / math.sqrt(2.0 + 0.25)
    assert captured.module.get_parameter("0.weight").item() == pytest.approx(3.0 * scale)
    assert captured.module.get_parameter("0.bias").item() == pytest.approx((1.0 + 4.0) * scale + 0.5)


class TwoNorms(nn.Module):
    """One convolution with a norm of its own at each place where it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm1, self.norm2 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm2(self.conv(F.relu(self.norm1(self.conv(x)))))


def test_a_shared_weight_gets_a_copy_for_each_norm() -> None:
    net = settled(TwoNorms())
    captured = capture_float(net, IMAGES)
    assert not [o for o in ops(captured) if "batch_norm" in o]
    weights = [n.args[1].target for n in captured.module.graph.nodes if op_name(n).startswith("conv2d")]
    assert len(set(weights)) == 2
    torch.testing.assert_close(run(captured, *IMAGES), net(*IMAGES).detach(), rtol=1e-5, atol=1e-5)


class PreActivation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.relu(self.norm(x)))


def test_a_norm_on_its_own_becomes_a_depthwise_convolution() -> None:
    net = settled(PreActivation())
    captured = capture_float(net, IMAGES)
    first = next(n for n in captured.module.graph.nodes if op_name(n).startswith("conv2d"))
    assert first.args[6] == 3
    assert tuple(captured.module.get_parameter(first.args[1].target).shape) == (3, 1, 1, 1)
    torch.testing.assert_close(run(captured, *IMAGES), net(*IMAGES).detach(), rtol=1e-5, atol=1e-5)


class TwoReaders(nn.Module):
    """The convolution is also read without its norm, so the norm cannot go into it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return y + self.norm(y)


def test_a_convolution_that_is_read_twice_keeps_its_weight() -> None:
    net = settled(TwoReaders())
    captured = capture_float(net, IMAGES)
    assert torch.equal(captured.module.get_parameter("conv.weight"), net.conv.weight)
    torch.testing.assert_close(run(captured, *IMAGES), net(*IMAGES).detach(), rtol=1e-5, atol=1e-5)


class Pool(nn.Module):
    def __init__(self, size: int | tuple[int, int]) -> None:
        super().__init__()
        self.pool, self.conv = nn.AdaptiveAvgPool2d(size), nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(self.conv(x))


@pytest.mark.parametrize(
    "size, left",
    [
        (1, ["mean"]),
        (8, []),
        ((4, 2), ["avg_pool2d"]),
        (16, ["upsample_nearest2d"]),
        (3, ["linear", "transpose", "linear", "transpose"]),
    ],
    ids=["global", "same size", "divisible", "multiple", "uneven"],
)
def test_adaptive_pools_become_ops_that_every_runtime_has(size: int | tuple[int, int], left: list[str]) -> None:
    net = settled(Pool(size))
    captured = capture_float(net, IMAGES)
    assert [o.split(".")[0] for o in ops(captured)[1:]] == left
    torch.testing.assert_close(run(captured, *IMAGES), net(*IMAGES).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("kernel, dilation, explicit", [(3, 1, True), (3, 2, True), (4, 1, False)])
def test_same_padding_becomes_numbers_where_it_is_even(kernel: int, dilation: int, explicit: bool) -> None:
    net = settled(Net(nn.Conv2d(3, 4, kernel, padding="same", dilation=dilation)))
    captured = capture_float(net, IMAGES)
    assert ("conv2d.default" in ops(captured)) == explicit
    torch.testing.assert_close(run(captured, *IMAGES), net(*IMAGES).detach(), rtol=1e-5, atol=1e-5)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.never = nn.Conv2d(3, 4, 1), nn.Linear(3, 3)
        self.register_buffer("table", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def test_state_that_no_op_reads_is_dropped() -> None:
    captured = capture_float(settled(Unused()), IMAGES)
    assert set(captured.module.state_dict()) == {"conv.weight", "conv.bias"}
