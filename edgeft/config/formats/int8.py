"""int8: 8-bit activations with one scale a tensor, 8-bit weights with one a channel; 7-bit ones where sums saturate."""

from __future__ import annotations

from ..number_format import NumberFormat
from ..numeric import Numeric

#: real zero may lie anywhere on the grid
AFFINE = Numeric("int", 8)
#: real zero is the integer 0, as TensorRT wants it
SYMMETRIC = Numeric("int", 8, symmetric=True)


def weights(bits: int = 8, granularity: str = "channel") -> Numeric:
    """Weights on [-(2^(bits-1)-1), 2^(bits-1)-1] with zero point 0."""
    return Numeric("int", bits, symmetric=True, granularity=granularity, narrow=True)


FORMAT = NumberFormat(
    name="int8",
    description="8-bit integers: one scale a tensor of activations, one a channel of weights.",
    activations=lambda symmetric: SYMMETRIC if symmetric else AFFINE,
    weights=weights,
)
