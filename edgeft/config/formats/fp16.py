"""fp16: weights as 16-bit floats (IEEE 754 binary16), half the size; activations in the runtime's floats.

ONNX Runtime, OpenVINO and LiteRT on a CPU convert the weights to float32 when a model is loaded, so results are those
of the rounded weights up to the last bits of float32, and the speed is that of float. A GPU computes in 16 bits.
"""

from __future__ import annotations

from ..number_format import NumberFormat
from ..numeric import Numeric

FORMAT = NumberFormat(
    name="fp16",
    description="16-bit floats: weights are rounded, nothing is calibrated or trained.",
    activations=lambda symmetric: Numeric("float", 16, symmetric=symmetric),
    weights=lambda bits, granularity: Numeric("float", 16, symmetric=True, granularity=granularity),
)
