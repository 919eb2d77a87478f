"""w4: weights of linear layers as 4-bit integers with one scale for 32 values of a row; activations stay 32-bit floats.

Other layers, and linear layers whose rows are no multiple of 32 long, have the 8-bit weights of w8. One scale for few
values is what makes 4 bits usable, as in Frantar et al., "GPTQ" (2023), section 4; an eighth of the size, and 5 bits a
weight with the scales.
"""

from __future__ import annotations

from ..number_format import NumberFormat
from ..numeric import Numeric
from . import w8

#: values of a row that share a scale
GROUP = 32

FORMAT = NumberFormat(
    name="w4",
    description="4-bit integer weights of linear layers, one scale for 32 values; activations are 32-bit floats.",
    activations=w8.FORMAT.activations,
    weights=w8.FORMAT.weights,
    linear=lambda: Numeric("int", 4, symmetric=True, granularity="group", group=GROUP, narrow=True),
)
