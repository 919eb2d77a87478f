"""The plain ops against torch's own: what they compute and their gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from edgeft.core.errors import ModelError
from edgeft.training_step import plain


def same(ours: Callable[..., torch.Tensor], theirs: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> None:
    """Equal values and equal gradients of a random weighting of them, float64."""
    found = []
    for function in (ours, theirs):
        given = [t.double().clone().requires_grad_(True) for t in inputs]
        said = function(*given)
        weights = torch.randn(said.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        found.append((said, *torch.autograd.grad((said * weights).sum(), given)))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@draws(60)
@given(
    groups=st.sampled_from([1, 2, 4]),
    depthwise=st.booleans(),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    bias=st.booleans(),
)
def test_convolution(
    groups: int,
    depthwise: bool,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    bias: bool,
) -> None:
    torch.manual_seed(0)
    groups = 4 if depthwise else groups
    x, w = torch.randn(2, 4, 8, 7), torch.randn(4 if depthwise else 8, 4 // groups, *kernel)
    inputs = [x, w, torch.randn(len(w))] if bias else [x, w]

    def ours(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        return plain.conv2d(x, w, b, stride, padding, dilation, groups)

    def theirs(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        return F.conv2d(x, w, b, stride, padding, dilation, groups)

    same(ours, theirs, *inputs)


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 6)])
def test_convolution_of_one_axis(stride: int, padding: int, dilation: int, groups: int) -> None:
    torch.manual_seed(0)
    x, w, b = torch.randn(3, 6, 11), torch.randn(6, 6 // groups, 3), torch.randn(6)
    same(
        lambda x, w, b: plain.conv1d(x, w, b, [stride], [padding], [dilation], groups),
        lambda x, w, b: F.conv1d(x, w, b, stride, padding, dilation, groups),
        *(x, w, b),
    )


@draws(40)
@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    ties=st.booleans(),
    side=st.integers(5, 8),
)
def test_max_pool_gives_the_first_of_equals_its_gradient(
    kernel: int, stride: int, padding: int, ties: bool, side: int
) -> None:
    torch.manual_seed(1)
    padding = min(padding, kernel // 2)
    x = torch.randn(2, 3, side, side)
    x = torch.round(x) if ties else x  # integers of a latent tie often
    same(
        lambda x: plain.max_pool2d(x, [kernel, kernel], [stride, stride], [padding, padding]),
        lambda x: F.max_pool2d(x, kernel, stride, padding),
        x,
    )


def test_max_pool_with_ceil_mode_is_refused() -> None:
    with pytest.raises(ModelError, match="ceil_mode"):
        plain.max_pool2d(torch.zeros(1, 1, 4, 4), [2, 2], ceil_mode=True)


def test_clamps_and_linear() -> None:
    torch.manual_seed(2)
    x = torch.randn(4, 5) * 4
    x[0] = 0.0  # at the border nothing is passed on, as in torch
    same(plain.relu, F.relu, x)
    same(lambda x: plain.hardtanh(x, 0.0, 6.0), F.relu6, x)
    same(plain.linear, F.linear, x, torch.randn(3, 5), torch.randn(3))
    same(plain.linear, F.linear, torch.randn(2, 7, 5), torch.randn(3, 5), torch.randn(3))
