"""int16x8: 16-bit activations with zero point 0, 8-bit weights with one scale a channel, sums in 64 bits.

For models whose activations lose too much on a grid of 8 bits, such as the state of a controller. On a CPU it is no
faster than float, since there are no vector kernels for it; NPUs compute it at half the rate of int8.
Source of the form: "16x8 quantization" of the TFLite operator specification.
"""

from __future__ import annotations

from ..number_format import NumberFormat
from ..numeric import Numeric

FORMAT = NumberFormat(
    name="int16x8",
    description="16-bit integer activations around 0, 8-bit integer weights with one scale a channel.",
    activations=lambda symmetric: Numeric("int", 16, symmetric=True),
    # 8 bits also where a profile has 7: sums have 64 bits
    weights=lambda bits, granularity: Numeric("int", 8, symmetric=True, granularity=granularity, narrow=True),
)
