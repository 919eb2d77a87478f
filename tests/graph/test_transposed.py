"""Transposed convolutions: as convolutions of the stride's phases they compute the same, and are quantized like any."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from quantize_nets import HOST, calibrated, op_name, seeded, settled
from torch import nn

from edgeft.graph.captured import Captured
from edgeft.graph.from_torch import capture_float

MAPS = (seeded(2, 8, 7, 6, seed=1),)


def ops(captured: Captured) -> list[str]:
    return [op_name(n).split(".")[0] for n in captured.module.graph.nodes if n.op == "call_function"]


LAYERS: dict[str, dict[str, Any]] = {
    "unet": {"kernel_size": 2, "stride": 2},
    "overlapping": {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False},
    "output padding, groups": {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "groups": 4},
    "padded beyond the last input": {"kernel_size": 2, "stride": 2, "output_padding": 1},
    "padding of more than a stride": {"kernel_size": 5, "stride": 2, "padding": 2},
    "stride of three": {"kernel_size": 1, "stride": 3, "output_padding": 2},
    "stride of one": {"kernel_size": 3, "stride": 1, "padding": 1, "groups": 2},
    "oblong": {"kernel_size": (2, 4), "stride": 2, "padding": (0, 1)},
    "dilated": {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2},
}


@pytest.mark.parametrize("kind", LAYERS)
def test_the_phases_compute_what_the_layer_does(kind: str) -> None:
    net = settled(nn.Sequential(nn.ConvTranspose2d(8, 12, **LAYERS[kind]), nn.BatchNorm2d(12), nn.ReLU()))
    captured = capture_float(net, MAPS)
    x = seeded(3, 8, 7, 6, seed=2)
    assert captured.dynamic and ops(captured)[:2] == ["conv2d", "relu"]
    assert not {"conv_transpose2d", "batch_norm"} & {*ops(captured)}
    with torch.no_grad():
        torch.testing.assert_close(captured.module(x), net(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [(2, 1), (1, 3), (3, 2)])
def test_phases_of_unequal_strides_are_interleaved(stride: tuple[int, int]) -> None:
    layer = nn.ConvTranspose2d(8, 12, (3, 4), stride, (1, 0), groups=2, output_padding=(0, stride[1] - 1))
    net = settled(nn.Sequential(layer, nn.ReLU()))
    captured = capture_float(net, MAPS)
    x = seeded(3, 8, 7, 6, seed=2)
    assert captured.dynamic and ops(captured)[:5] == ["conv2d", "relu", "reshape", "permute", "reshape"]
    assert "conv_transpose2d" not in ops(captured)
    with torch.no_grad():
        torch.testing.assert_close(captured.module(x), net(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"stride": 2, "padding": 1}, {"stride": 1}, {"stride": 3, "dilation": 2}])
def test_one_over_a_sequence_is_a_convolution(options: dict[str, Any]) -> None:
    net = settled(nn.Sequential(nn.ConvTranspose1d(8, 4, 4, **options), nn.ReLU()))
    captured = capture_float(net, (seeded(2, 8, 9, seed=1),))
    x = seeded(3, 8, 9, seed=2)
    assert captured.dynamic and ops(captured)[0] == "conv1d" and "conv_transpose1d" not in ops(captured)
    with torch.no_grad():
        torch.testing.assert_close(captured.module(x), net(x), rtol=1e-5, atol=1e-5)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
        self.up, self.join, self.head = (
            nn.ConvTranspose2d(16, 8, 2, 2),
            nn.Conv2d(16, 8, 3, padding=1),
            nn.Conv2d(8, 2, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = F.relu(self.first(x))
        up = self.up(F.relu(self.second(before)))
        return self.head(F.relu(self.join(torch.cat([up, before], 1))))


def test_a_unet_is_integer_throughout_and_its_weights_keep_their_names() -> None:
    net = settled(UNet())
    graph = calibrated(net, (seeded(2, 1, 8, 8),), HOST)
    assert not graph.summary.float_ops
    assert sorted(graph.weight_of) == sorted(name for name, _ in net.named_parameters() if name.endswith("weight"))
