"""Fake-quantize modules: values and gradients against formulas written out here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from quantize_nets import seeded

from edgeft.config.formats import int8
from edgeft.config.numeric import Numeric
from edgeft.quantize.fakequant import MIN_SCALE, ActivationFakeQuant, WeightFakeQuant

qd = torch.ops.quantized_decomposed


def activation(
    low: float, high: float, *, symmetric: bool = False, ceiling: float | None = None
) -> ActivationFakeQuant:
    fake = ActivationFakeQuant(int8.SYMMETRIC if symmetric else int8.AFFINE, None, ceiling)
    fake.set_range(low, high)
    fake.mode = "quantize"
    return fake


def lsq_gradients(
    x: np.ndarray, scale: float, zero: float, low: int, high: int, upstream: np.ndarray
) -> tuple[np.ndarray, float]:
    """Equations 3 and 5 of Esser et al. (2020), with a zero point: (gradient of x, gradient of the scale), unscaled."""
    v = x / scale
    inside = (np.rint(v + zero) >= low) & (np.rint(v + zero) <= high)
    of_scale = np.where(inside, np.rint(v) - v, np.where(np.rint(v + zero) < low, low - zero, high - zero))
    return upstream * inside, float((upstream * of_scale).sum())


@pytest.mark.parametrize("symmetric", [False, True])
def test_activation_gradients_follow_the_formula(symmetric: bool) -> None:
    fake = activation(-1.0, 3.0, symmetric=symmetric)
    x = (seeded(4, 3, 5, seed=3) * 3).requires_grad_(True)
    upstream = seeded(4, 3, 5, seed=4)
    fake(x).backward(upstream)
    scale, zero = fake.parameters_of_grid()
    of_x, of_scale = lsq_gradients(x.detach().double().numpy(), scale, zero, -128, 127, upstream.double().numpy())
    assert 0 < (of_x == 0).sum() < of_x.size, "some values are clipped and some are not"
    np.testing.assert_allclose(x.grad.numpy(), of_x, rtol=1e-6)
    factor = 1 / math.sqrt(15 * 127)  # elements of one sample, not of the batch
    # the parameter is the logarithm: d/d log(s) = s * d/ds
    assert fake.log_scale.grad.item() == pytest.approx(of_scale * factor * scale, rel=1e-3)


@pytest.mark.parametrize("axis", [0, 1, None])
def test_weight_gradients_follow_the_formula(axis: int | None) -> None:
    weight = seeded(3, 4, 2, 2, seed=5).requires_grad_(True)
    fake = WeightFakeQuant(weight, int8.weights(), axis)
    fake.set_scale(fake.scale() * 0.5)  # so that some weights are clipped
    upstream = seeded(3, 4, 2, 2, seed=6)
    fake(weight).backward(upstream)
    channels = 1 if axis is None else weight.shape[axis]
    rows = (lambda t: t.reshape(1, -1)) if axis is None else (lambda t: t.transpose(0, axis).reshape(channels, -1))
    elements = weight.numel() // channels
    for c in range(channels):
        scale = fake.scale()[c].item()
        of_x, of_scale = lsq_gradients(
            rows(weight.detach())[c].double().numpy(), scale, 0, -127, 127, rows(upstream)[c].double().numpy()
        )
        np.testing.assert_allclose(rows(weight.grad)[c].numpy(), of_x, rtol=1e-6)
        assert fake.log_scale.grad[c].item() == pytest.approx(of_scale * scale / math.sqrt(elements * 127), rel=1e-3)


def test_the_scale_gradient_of_a_batch_is_the_sum_of_its_parts() -> None:
    """So the mean over two processes with half the batch each is the gradient of the whole batch's mean loss."""
    x, upstream = seeded(6, 4, 4, seed=7), seeded(6, 4, 4, seed=8)
    whole = activation(-1, 2)
    whole(x).backward(upstream)
    parts = activation(-1, 2)
    for rows in (slice(0, 3), slice(3, 6)):
        parts(x[rows]).backward(upstream[rows])
    torch.testing.assert_close(whole.log_scale.grad, parts.log_scale.grad, rtol=1e-5, atol=1e-7)


@draws(60)
@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.booleans())
def test_scales_are_positive_and_zero_is_on_the_grid(a: float, b: float, symmetric: bool) -> None:
    fake = activation(min(a, b), max(a, b), symmetric=symmetric)
    scale, zero = fake.parameters_of_grid()
    assert scale > 0 and -128 <= zero <= 127
    assert not symmetric or zero == 0
    assert float(fake(torch.zeros(1)).detach()) == 0.0
    if max(abs(a), abs(b)) > 1e-3:  # nothing in the range is clipped by more than the rounding of the zero point
        ends = torch.tensor([min(a, b, 0.0), max(a, b, 0.0)])
        assert torch.all((fake(ends) - ends).abs() <= scale * 1.01)


def test_no_step_of_an_optimizer_makes_a_scale_negative() -> None:
    fake = activation(-1, 1)
    optimizer = torch.optim.SGD(fake.parameters(), lr=10.0)
    for _ in range(5):
        optimizer.zero_grad()
        (fake.scale() * 3).sum().backward()  # wants the scale far below zero
        optimizer.step()
    assert fake.parameters_of_grid()[0] > 0


@draws(60)
@given(st.floats(0.05, 1000.0))
def test_the_top_of_a_grid_with_a_ceiling_never_exceeds_it(ceiling: float) -> None:
    for symmetric in (False, True):
        fake = activation(0.0, ceiling * 3, symmetric=symmetric, ceiling=ceiling)
        scale, zero = fake.parameters_of_grid()
        assert scale * (127 - zero) <= ceiling
        assert scale * (127 - zero) > ceiling * 0.999
        assert fake(torch.tensor([ceiling * 2])).item() <= ceiling * (1 + 1e-6)


def test_a_range_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        activation(float("nan"), 1.0)


def test_a_fixed_module_does_not_learn() -> None:
    fake = ActivationFakeQuant(int8.AFFINE, (1 / 256, -128))
    assert not list(fake.parameters())
    fake.set_range(-10, 10)
    assert fake.parameters_of_grid() == (1 / 256, -128)
    x = torch.tensor([-0.5, 0.0, 0.5, 2.0], requires_grad=True)
    y = fake(x)
    assert y.tolist() == [0.0, 0.0, 0.5, 255 / 256]
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def ties(scale: float) -> np.ndarray:
    """Values at and around the midpoints between grid points, as float32 holds them."""
    half = (np.arange(-260, 260) / 2).astype(np.float32) * np.float32(scale)
    return np.concatenate([half, np.nextafter(half, np.float32(np.inf)), np.nextafter(half, np.float32(-np.inf))])


@draws(40)
@given(
    arrays(np.float32, (3, 11), elements=st.floats(-100, 100, width=32)),
    arrays(np.float32, 3, elements=st.floats(2.0**-12, 4, width=32)),
    st.sampled_from([int8.weights(), int8.weights(7)]),
)
def test_integer_weights_equal_the_reference_quantizer_to_the_bit(
    values: np.ndarray, scales: np.ndarray, numeric: Numeric
) -> None:
    weight = torch.from_numpy(np.stack([np.concatenate([v, ties(s)]) for v, s in zip(values, scales)]))
    fake = WeightFakeQuant(weight, numeric, 0)
    fake.set_scale(torch.from_numpy(scales))
    zero = torch.zeros(3, dtype=torch.int64)
    own = fake.integer(weight)
    assert own.dtype == torch.int8
    assert torch.equal(own, qd.quantize_per_channel(weight, fake.scale().detach(), zero, 0, *numeric.range, torch.int8))
    # and the training path computes with exactly these integers
    with torch.no_grad():
        assert torch.equal(fake(weight), own.float() * fake.scale()[:, None])
    single = WeightFakeQuant(weight, numeric, None)
    grid = (float(single.scale().item()), 0, *numeric.range, torch.int8)
    assert torch.equal(single.integer(weight), qd.quantize_per_tensor(weight, *grid))


@draws(60)
@given(
    arrays(np.float32, (2, 9), elements=st.floats(-50, 50, width=32)),
    st.floats(-20, 0),
    st.floats(2.0**-6, 20),
    st.booleans(),
)
def test_the_frozen_path_has_the_values_of_the_learning_one(
    values: np.ndarray, low: float, high: float, symmetric: bool
) -> None:
    fake = activation(low, high, symmetric=symmetric)
    scale, zero = fake.parameters_of_grid()
    x = torch.from_numpy(np.concatenate([values.ravel(), ties(scale)]))[None]
    learning = fake(x).detach()
    fake.log_scale.requires_grad_(False)
    frozen = fake(x)
    assert torch.equal(learning, frozen)
    grid = (scale, zero, -128, 127, torch.int8)
    assert torch.equal(frozen, qd.dequantize_per_tensor(qd.quantize_per_tensor(x, *grid), *grid))


def test_a_scale_is_never_below_the_smallest_one() -> None:
    fake = WeightFakeQuant(torch.zeros(2, 3), int8.weights(), 0)
    assert torch.all(fake.scale() >= MIN_SCALE * 0.999)
    assert activation(0.0, 0.0).parameters_of_grid() == (pytest.approx(MIN_SCALE, rel=1e-5), 0)


def test_modes() -> None:
    fake = activation(-1, 1)
    x = torch.tensor([0.123456])
    fake.mode = "off"
    assert fake(x) is x
    fake.mode, seen = "observe", []
    fake.observer = lambda t: seen.append(t)  # type: ignore[assignment]
    assert fake(x) is x and len(seen) == 1
    fake.mode = "quantize"
    assert fake(x).item() != x.item()
