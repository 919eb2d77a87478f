"""Clocks in integer nanoseconds. A measurement takes the clock as an argument, so that a test can inject its own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two monotonic clocks read together.

    `wall` is real time; `cpu` the processor time of the whole process, all its threads summed (a thread clock would
    miss a runtime's worker threads). Both in ns from an arbitrary origin. `resolution_ns` is the smallest step that
    both can show.
    """

    resolution_ns: int

    def wall(self) -> int: ...

    def cpu(self) -> int: ...


class SystemClock:
    """`time.perf_counter_ns` and `time.process_time_ns`."""

    def __init__(self) -> None:
        steps = (time.get_clock_info(name).resolution for name in ("perf_counter", "process_time"))
        self.resolution_ns = max(1, round(max(steps) * 1e9))

    def wall(self) -> int:
        return time.perf_counter_ns()

    def cpu(self) -> int:
        return time.process_time_ns()
