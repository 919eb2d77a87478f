"""fp32: the float model itself. Nothing is quantized, and the artifact is the float baseline, byte for byte.

It is what to ship where no other format is faster: `edgeft export --auto` has it among its candidates on every target
that computes in float.
"""

from __future__ import annotations

from ..number_format import NumberFormat
from ..numeric import Numeric

FORMAT = NumberFormat(
    name="fp32",
    description="32-bit floats: the float model, nothing is quantized.",
    activations=lambda symmetric: Numeric("float", 32, symmetric=symmetric),
    weights=lambda bits, granularity: Numeric("float", 32, symmetric=True, granularity=granularity),
)
