"""Which estimator of ranges leaves the least noise in the outputs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from edgeft.config.scheme import Scheme
from edgeft.quantize.noise import GAIN, signal_to_noise
from edgeft.quantize.parts import ESTIMATORS, calibrate_parts, capture_parts, insert_parts


def pictures() -> Iterator[tuple[torch.Tensor]]:
    draw = torch.Generator().manual_seed(2)
    return iter([(torch.randn(16, 3, 8, 8, generator=draw),) for _ in range(4)])


def test_auto_takes_the_estimator_that_leaves_the_least_noise() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))
    parts = insert_parts(capture_parts(net.eval(), next(pictures())), Scheme())
    parts.calibrate_weights("mse")
    ratios = {}
    for estimator in ESTIMATORS:
        assert calibrate_parts(parts, pictures, estimator=estimator, percentile=80) == {}
        ratios[estimator] = signal_to_noise(parts.module, parts.set_mode, pictures)
    assert ratios["percentile"] < ratios["mse"] - 3, "a range that clips a fifth of the values is a bad one"

    measured = calibrate_parts(parts, pictures, estimator="auto", percentile=80)
    assert measured == ratios
    first = next(iter(measured))
    assert ratios[first] >= max(ratios.values()) - GAIN and first != "percentile"
    assert signal_to_noise(parts.module, parts.set_mode, pictures) == ratios[first]


def test_the_ratio_is_that_of_the_energies() -> None:
    """A linear layer whose output has one step of 1: values of 0.25 vanish, those of 4 stay."""
    net = nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(net.weight)
    parts = insert_parts(capture_parts(net.eval(), (torch.ones(2, 1),)), Scheme())
    batch = (torch.tensor([[0.25], [127.0]]),)
    calibrate_parts(parts, lambda: iter([batch]), estimator="minmax", percentile=100)
    for fake in parts.activations().values():
        fake.set_range(-128.0, 127.0)
    ratio = signal_to_noise(parts.module, parts.set_mode, lambda: iter([batch]))
    expected = 10 * torch.tensor((0.25**2 + 127.0**2) / 0.25**2).log10()
    assert abs(ratio - float(expected)) < 1e-3
