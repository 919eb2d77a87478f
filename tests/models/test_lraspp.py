"""LR-ASPP: the grid of its logits, and sides that do not fit."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="models are torch")

from edgeft.core.errors import RecipeError  # noqa: E402
from edgeft.models.nets.lraspp import LRASPP  # noqa: E402


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_logits_on_a_grid_of_the_stride(stride: int) -> None:
    net = LRASPP(5, stride=stride, head_width=8, width=0.35, depth=0.3).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 64, 96)).shape == (1, 5, 64 // stride, 96 // stride)


def test_sides_and_strides_that_do_not_fit() -> None:
    net = LRASPP(5, head_width=8, width=0.35, depth=0.3)
    with pytest.raises(RecipeError, match="multiples of 32"):
        net(torch.zeros(1, 3, 60, 64))
    with pytest.raises(ValueError, match="stride is 5"):
        LRASPP(5, stride=5)
