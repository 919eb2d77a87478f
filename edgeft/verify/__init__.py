"""Verification: one file a gate, each a pure function to a `Verdict`; `run` puts them together for a bundle.

accuracy · agreement · parity · integer · latency · size · compatibility    the gates
document.py    the verdicts as report.json
run.py         `edgeft verify BUNDLE`
"""

from __future__ import annotations

from .accuracy import accuracy
from .agreement import agreement
from .compatibility import compatibility, on_target
from .document import report
from .integer import digests, int8_share, integer, integer_digests
from .latency import budget, latency
from .parity import output_steps, parity, preprocessing, samples_parity
from .scales import activation_scales, same_scales, scales_digest
from .size import size

__all__ = [
    "accuracy",
    "activation_scales",
    "agreement",
    "budget",
    "compatibility",
    "digests",
    "int8_share",
    "integer",
    "integer_digests",
    "latency",
    "on_target",
    "output_steps",
    "parity",
    "preprocessing",
    "report",
    "same_scales",
    "samples_parity",
    "scales_digest",
    "size",
]
