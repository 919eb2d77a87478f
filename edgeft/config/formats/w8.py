"""w8: weights as 8-bit integers with one scale a channel, a quarter of the size; activations stay 32-bit floats.

Nothing is calibrated but the weights, and no integer kernel runs: a runtime multiplies the weights out when it loads
the model or while it computes. It suits models whose activations lose too much on a grid of 8 bits.
"""

from __future__ import annotations

from ..number_format import NumberFormat
from ..numeric import Numeric

FORMAT = NumberFormat(
    name="w8",
    description="8-bit integer weights, one scale a channel; activations and sums are 32-bit floats.",
    activations=lambda symmetric: Numeric("float", 32, symmetric=symmetric),
    # 8 bits also where a profile has 7: no sum of integers can saturate
    weights=lambda bits, granularity: Numeric("int", 8, symmetric=True, granularity=granularity, narrow=True),
)
