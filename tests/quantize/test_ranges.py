"""Calibration: each estimator against figures computed here, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from quantize_nets import IMAGES, Residual, calibrated, seeded, settled
from torch import nn

from edgeft.config.formats import int8
from edgeft.config.numeric import Numeric
from edgeft.config.scheme import Scheme
from edgeft.core.errors import DataError
from edgeft.quantize import ranges
from edgeft.quantize.fakequant import ActivationFakeQuant, WeightFakeQuant
from edgeft.quantize.graph import prepare
from edgeft.quantize.layers import ValueOf
from edgeft.quantize.lower import lower
from edgeft.quantize.ranges import (
    BINS,
    HistogramObserver,
    calibrate,
    least_squares_range,
    percentile_range,
    weight_scales,
)


def one(symmetric: bool = False) -> nn.Module:
    return nn.Sequential(ActivationFakeQuant(int8.SYMMETRIC if symmetric else int8.AFFINE))


def range_of(module: nn.Module) -> tuple[float, float]:
    (fake,) = (m for m in module.modules() if isinstance(m, ActivationFakeQuant))
    scale, zero = fake.parameters_of_grid()
    return (-128 - zero) * scale, (127 - zero) * scale


def test_minmax_puts_every_value_on_the_grid() -> None:
    batches = [(torch.tensor([[-1.0, 2.0]]),), (torch.tensor([[0.5, 6.5]]),)]
    module = one()
    assert calibrate(module, lambda: batches, estimator="minmax") == 2
    assert range_of(module) == (pytest.approx(-1.0, abs=0.02), pytest.approx(6.5, abs=0.02))
    assert module[0].mode == "quantize" and module[0].observer is None


def test_the_moving_average_is_that_of_each_batchs_ends() -> None:
    ends = [(-1.0, 2.0), (-3.0, 4.0), (-5.0, 10.0)]
    low, high = ends[0]
    for a, b in ends[1:]:
        low, high = low + 0.1 * (a - low), high + 0.1 * (b - high)
    module = one()
    calibrate(module, lambda: [(torch.tensor([e]),) for e in ends], estimator="moving_average")
    assert range_of(module) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


def test_the_percentile_is_that_of_both_tails_together() -> None:
    """99 per cent of the values stay: half a per cent is clipped at either end."""
    histogram = HistogramObserver(-1.0, 1.0)
    histogram.counts = np.ones(BINS)
    low, high = percentile_range(histogram, 99.0)
    assert (low, high) == pytest.approx((-0.99, 0.99), abs=3 / BINS)


def test_the_percentile_clips_the_tails() -> None:
    values = torch.cat([torch.linspace(-1, 1, 100_000), torch.tensor([50.0])])[None]
    module = one()
    calibrate(module, lambda: [(values,)], estimator="percentile", percentile=99.9)
    low, high = range_of(module)
    width = 51.0 / BINS
    assert abs(low + 1.0) <= 2 * width and abs(high - 1.0) <= 2 * width
    calibrate(module, lambda: [(values,)], estimator="percentile", percentile=100.0)
    assert range_of(module)[1] == pytest.approx(50.0, abs=0.3)


def squared_error(x: np.ndarray, module: nn.Module) -> float:
    with torch.no_grad():
        y = module(torch.from_numpy(x)[None])[0]
    return float(((y.double().numpy() - x) ** 2).sum())


def test_least_squares_clips_an_outlier_when_that_pays() -> None:
    x = np.concatenate([np.random.default_rng(0).normal(size=200_000), [30.0]]).astype(np.float32)
    plain, best = one(), one()
    for module, estimator in ((plain, "minmax"), (best, "mse")):
        calibrate(module, lambda: [(torch.from_numpy(x)[None],)], estimator=estimator)
    assert range_of(best)[1] < 0.9 * range_of(plain)[1]
    # against a search over every clip on the true values
    found = squared_error(x, best)
    trial, least = one(), float("inf")
    for high in np.linspace(3, 30, 109):
        trial[0].set_range(float(x.min()), float(high))
        trial[0].mode = "quantize"
        least = min(least, squared_error(x, trial))
    assert found <= 1.1 * least < squared_error(x, plain)


def histogram_error(histogram: HistogramObserver, fake: ActivationFakeQuant, low: float, high: float) -> float:
    """The same criterion written out: quantize each bin's centre on the grid that `set_range` makes."""
    fake.set_range(low, high)
    scale, zero = fake.parameters_of_grid()
    q = np.clip(np.rint(histogram.centers / scale) + zero, fake.q_min, fake.q_max)
    return float((((q - zero) * scale - histogram.centers) ** 2 * histogram.counts).sum())


@draws(40)
@given(st.integers(0, 2**31), st.floats(-30, 30), st.floats(0.01, 30), st.integers(1, 60), st.booleans())
def test_the_least_squares_range_is_never_worse_than_the_whole_range(
    seed: int, low: float, width: float, filled: int, symmetric: bool
) -> None:
    rng = np.random.default_rng(seed)
    histogram = HistogramObserver(low, low + width)
    histogram.counts[rng.integers(0, BINS, filled)] = rng.integers(1, 10_000, filled)
    fake = ActivationFakeQuant(int8.SYMMETRIC if symmetric else int8.AFFINE)
    found = least_squares_range(histogram, fake)
    whole = histogram_error(histogram, fake, histogram.low, histogram.high)
    assert histogram_error(histogram, fake, *found) <= whole * (1 + 1e-3) + 1e-9


@draws(30)
@given(
    st.integers(0, 2**31),
    st.integers(1, 40),
    st.sampled_from([int8.weights(), int8.weights(7)]),
    st.sampled_from([0, None]),
)
def test_weight_scales_by_least_squares_are_never_worse(
    seed: int, elements: int, numeric: Numeric, axis: int | None
) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).standard_t(2, (3, elements)).astype(np.float32))
    fake = WeightFakeQuant(weight, numeric, axis)
    errors = {}
    for method in ("minmax", "mse"):
        weight_scales(fake, weight, method)
        with torch.no_grad():
            errors[method] = float(((fake(weight) - weight).double() ** 2).sum())
        top = weight.abs().amax(1) if axis == 0 else weight.abs().amax().view(1)
        if method == "minmax":
            torch.testing.assert_close(fake.scale().detach(), (top / numeric.range[1]).clamp_min(1e-8))
    assert errors["mse"] <= errors["minmax"] * (1 + 1e-4) + 1e-12


def test_a_channel_of_zeros_gets_the_layers_own_scale() -> None:
    weight = torch.tensor([[1.0, -2.0], [0.0, 0.0], [4.0, 0.0]])
    fake = WeightFakeQuant(weight, int8.weights(), 0)
    weight_scales(fake, weight, "minmax")
    torch.testing.assert_close(fake.scale().detach(), torch.tensor([2.0, 3.0, 4.0]) / 127)


def test_a_batch_in_pieces_has_the_ranges_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [(torch.randn(7, 5, generator=torch.Generator().manual_seed(seed)),) for seed in range(3)]
    for estimator in ("minmax", "moving_average", "percentile", "mse"):
        whole, parted = one(), one()
        calibrate(whole, lambda: batches, estimator=estimator)
        with monkeypatch.context() as patched:
            patched.setattr(ranges, "PIECE_BYTES", 2 * 5 * 4)
            calibrate(parted, lambda: batches, estimator=estimator)
        assert range_of(whole) == range_of(parted)


@pytest.mark.parametrize("batch", [0, 1])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float, batch: int) -> None:
    x = IMAGES[0].clone()
    x[0, 0, 0, 0] = value
    batches = [IMAGES, IMAGES]
    batches[batch] = [x]
    graph = prepare(settled(Residual()), IMAGES, Scheme())
    with pytest.raises(DataError, match="not finite"):
        calibrate(graph.module, lambda: batches)


def test_an_empty_calibration_set_is_refused() -> None:
    graph = prepare(settled(Residual()), IMAGES, Scheme())
    with pytest.raises(DataError, match="empty"):
        calibrate(graph.module, list)


def test_ranges_are_those_of_the_float_network() -> None:
    """Observed with weights and activations off the grid, however coarse the grid was before."""
    net = settled(Residual())
    graph = calibrated(net, IMAGES)
    first = {n: m.parameters_of_grid() for n, m in graph.activations().items()}
    for fake in graph.weights().values():
        fake.set_scale(fake.scale() * 40)
    calibrate(graph.module, lambda: [IMAGES], estimator="minmax")
    assert {n: m.parameters_of_grid() for n, m in graph.activations().items()} == first
    assert {m.mode for m in (*graph.activations().values(), *graph.weights().values())} == {"quantize"}


def test_a_constant_activation_still_gets_a_grid() -> None:
    for estimator in ("minmax", "mse", "percentile", "moving_average"):
        module = one()
        calibrate(module, lambda: [(torch.zeros(2, 3),)], estimator=estimator)
        assert module[0].parameters_of_grid()[0] > 0
        calibrate(module, lambda: [(torch.full((2, 3), 2.5),)], estimator=estimator)
        assert float(module(torch.tensor([[2.5]]))) == pytest.approx(2.5, rel=0.01)


WORKER = """
    import sys, json, torch
    import torch.distributed as dist
    sys.path.insert(0, {tests!r})
    from quantize_nets import Residual, seeded, settled
    from edgeft.quantize.graph import prepare
    from edgeft.quantize.ranges import calibrate
    from edgeft.config.scheme import Scheme
    rank, estimator = int(sys.argv[1]), sys.argv[2]
    dist.init_process_group("gloo", init_method="file://" + sys.argv[3], rank=rank, world_size=2)
    batches = [(seeded(3, 3, 8, 8, seed=s) * (s + 1),) for s in range(5)]
    graph = prepare(settled(Residual()), batches[0], Scheme())
    own = batches[rank::2] if sys.argv[4] == "both" else batches[5 * rank:]
    seen = calibrate(graph.module, lambda: own, estimator=estimator)
    print(json.dumps([seen, {{n: m.parameters_of_grid() for n, m in graph.activations().items()}}]))
    dist.destroy_process_group()
"""


@pytest.mark.parametrize(
    "estimator, shares", [("mse", "both"), pytest.param("moving_average", "one", marks=pytest.mark.slow)]
)
def test_two_processes_that_share_the_samples_find_the_ranges_of_one(
    estimator: str, shares: str, tmp_path: object
) -> None:
    """`one`: a process may have no sample at all, and must take the other's ranges."""
    import json
    from pathlib import Path

    script = textwrap.dedent(WORKER).format(tests=str(Path(__file__).parents[1]))
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(rank), estimator, f"{tmp_path}/meet", shares],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [json.loads(p.communicate(timeout=240)[0].splitlines()[-1]) for p in started]
    batches = [(seeded(3, 3, 8, 8, seed=s) * (s + 1),) for s in range(5)]
    graph = prepare(settled(Residual()), batches[0], Scheme())
    assert calibrate(graph.module, lambda: batches, estimator=estimator) == 15
    want = {n: list(m.parameters_of_grid()) for n, m in graph.activations().items()}
    assert said[0] == said[1] == [15, want]


def test_a_step_of_a_silent_layers_output_resolves_no_more_than_its_sums() -> None:
    """XNNPACK refuses a layer whose sums are worth 256 steps of its output or more: behind a ReLU that never opens."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    with torch.no_grad():
        net[2].bias.fill_(-100.0)
    graph = calibrated(net.eval(), IMAGES)
    steps = {fake: graph.activations()[fake].parameters_of_grid()[0] for fake in graph.activations()}
    first, silent, after = (next(f for f, v in graph.value_of.items() if v == ValueOf((n,), "output")) for n in "024")
    scale = float(graph.weight("2.weight").scale().max())
    assert steps[silent] == pytest.approx(steps[first] * scale / 255, rel=1e-5)
    assert steps[after] > 1e-6 and torch.equal(lower(graph)(*IMAGES), graph.module(*IMAGES))


def test_the_steps_of_ordinary_layers_are_those_of_their_ranges() -> None:
    graph = calibrated(settled(Residual()), IMAGES)
    before = {name: fake.parameters_of_grid() for name, fake in graph.activations().items()}
    ranges.floor_activation_scales(graph.module)
    assert before == {name: fake.parameters_of_grid() for name, fake in graph.activations().items()}
