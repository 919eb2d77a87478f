"""Reconstruction of layers: outputs nearer to the float ones, integers that stay as chosen, what is left alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from edgeft.config.scheme import Scheme, SchemeTable
from edgeft.quantize.lower import integer_weights, lower
from edgeft.quantize.noise import ratio_between
from edgeft.quantize.parts import MAIN, QuantizedParts, calibrate_parts, capture_parts, insert_parts

Batch = tuple[torch.Tensor]
#: four bits for all weights, where rounding matters most
NARROW = dataclasses.replace(
    Scheme(), weights={name: dataclasses.replace(numeric, bits=4) for name, numeric in Scheme().weights.items()}
)


class Net(nn.Module):
    """Strided, dilated, depthwise, grouped and plain convolutions, and layers with and without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=16)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4, bias=False)
        self.pointwise = nn.Conv2d(16, 32, 1)
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = x + torch.relu(self.grouped(torch.relu(self.depthwise(x))))
        return self.head(torch.relu(self.pointwise(x)).mean((2, 3)))


def pictures(seed: int, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Blurred noise whose mean colour is the class: (N, 3, 16, 16) and (N,)."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count * 16,), generator=draw)
    noise = nn.functional.interpolate(torch.randn(len(labels), 3, 4, 4, generator=draw), 16, mode="bilinear")
    return noise + 0.7 * nn.functional.one_hot(labels, 3)[:, :, None, None], labels


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """Trained for a few dozen steps."""
    torch.manual_seed(0)
    module, (x, labels) = Net(), pictures(1, 16)
    optimizer = torch.optim.Adam(module.parameters(), 5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), labels).backward()
        optimizer.step()
    return module.eval()


def batches(seed: int) -> list[Batch]:
    return [(part,) for part in pictures(seed)[0].split(16)]


def calibrated(net: nn.Module, example: Batch, inputs: list[Batch], scheme: Scheme = NARROW) -> QuantizedParts:
    parts = insert_parts(capture_parts(net, example), scheme)
    parts.calibrate_weights("mse")
    if scheme.is_integer:
        calibrate_parts(parts, lambda: iter(inputs), estimator="mse", percentile=99.99)
    return parts


def test_the_outputs_come_nearer_to_the_float_ones(net: nn.Module) -> None:
    inputs, others = batches(2), batches(3)
    parts = calibrated(net, inputs[0], inputs)
    before = ratio_between(net, parts.module, others)
    result = parts.reconstruct(inputs)
    assert result is not None and result.kept and result.layers == 5
    after = ratio_between(net, parts.module, others)
    assert after > before + 4, (before, after)
    assert result.after_db > result.before_db + 4

    # what is stored are the integers that were chosen
    with torch.no_grad():
        torch.testing.assert_close(lower(parts.graphs[MAIN])(*others[0]), parts.module(*others[0]), atol=1e-5, rtol=0)
    for weight in integer_weights(parts.graphs[MAIN]):
        assert abs(weight.data).max() <= 7


def test_the_same_samples_give_the_same_integers(net: nn.Module) -> None:
    weights = []
    for _ in range(2):
        parts = calibrated(net, batches(2)[0], batches(2))
        parts.reconstruct(batches(2))
        weights.append({w.name: w.data.tobytes() for w in parts.integer_weights()})
    assert weights[0] == weights[1]


def test_rounding_that_is_no_better_on_other_samples_is_not_kept(net: nn.Module) -> None:
    inputs = batches(2)
    parts = calibrated(net, inputs[0], inputs)
    misleading = [(torch.zeros_like(x),) if i % 4 != 3 else (x,) for i, (x,) in enumerate(inputs)]
    state = {name: value.clone() for name, value in parts.module.state_dict().items()}
    result = parts.reconstruct(misleading)
    assert result is not None and not result.kept and result.after_db <= result.before_db
    assert all(torch.equal(value, state[name]) for name, value in parts.module.state_dict().items())


def test_one_batch_is_too_little(net: nn.Module) -> None:
    inputs = batches(2)
    assert calibrated(net, inputs[0], inputs).reconstruct(inputs[:1]) is None


def test_weights_in_groups_of_linear_layers_with_float_activations() -> None:
    torch.manual_seed(0)
    draw = torch.randn(6, 64)
    inputs = [(torch.randn(64, 6) @ draw,) for _ in range(8)]
    net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 5)).eval()
    parts = calibrated(net, inputs[0], inputs, SchemeTable(format="w4").scheme())
    before = ratio_between(net, parts.module, inputs[-1:])
    result = parts.reconstruct(inputs)
    assert result is not None and result.kept
    assert ratio_between(net, parts.module, inputs[-1:]) > before + 4


def test_a_weight_that_two_layers_share_stays_as_it_is() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.last = nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(self.layer(torch.relu(self.layer(x)))))

    torch.manual_seed(0)
    module = Shared().eval()
    inputs = [(torch.randn(32, 8),) for _ in range(8)]
    parts = calibrated(module, inputs[0], inputs)
    result = parts.reconstruct(inputs)
    assert result is not None and result.layers == 1
    assert torch.equal(parts.module.layer.weight, module.layer.weight)
