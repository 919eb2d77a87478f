"""Measuring: clocks, paired quads, distribution-free statistics, the machine's fingerprint. numpy and stdlib only.

clock.py        what time it is, on the wall and in this process; injected in tests
quads.py        two callables, interleaved ABBA, to a ratio with its interval
stats.py        order-statistic bounds, binomial and paired intervals
latency.py      percentiles of single invocations
fingerprint.py  the machine that a figure was measured on
"""

from __future__ import annotations
