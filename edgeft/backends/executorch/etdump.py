"""What a delegate executed, from the trace (ETDump) that ExecuTorch's runtime writes.

The layout is that of executorch/devtools/etdump/etdump_schema_flatcc.fbs, read by field number.
"""

from __future__ import annotations

import re

from .._flatbuffer import Table, integer_at

_WEIGHTED = ("Convolution (", "Fully Connected (", "Deconvolution (", "Batch Matrix Multiply (", "Scaled Dot-Product ")
#: XNNPACK's words for 8-bit integers that are computed with: one scale, per channel, dynamic
_INTEGER = {"QS8", "QC8", "QU8", "QD8", "QC8W"}


def executed(trace: bytes) -> list[str]:
    """The names of XNNPACK's operators that ran, in their order and with the types that they compute in, such as
    "Fully Connected (NC, QS8, QC8W) GEMM #1"; nothing where the trace is empty."""
    data = memoryview(trace)
    if bytes(data[8:12]) != b"ED00":
        return []

    events = [
        entry.table(0)
        for run in Table(data[4:], integer_at(data, 4, "I")).tables(1)  # a prefix of 4 bytes holds the size
        for entry in run.tables(3)
    ]
    names = [event.text(4) for event in events if event is not None]

    return [name for name in names if name]


def weighted(name: str) -> bool:
    """Whether an operator of XNNPACK multiplies and accumulates."""
    return name.startswith(_WEIGHTED)


def integer(name: str) -> bool:
    """Whether an operator of XNNPACK computes in integers, by the types in its name."""
    return bool(_INTEGER & {*re.findall(r"\w+", name)})
