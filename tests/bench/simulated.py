"""A machine in software: runs advance a clock by their cost and by noise, so that a test decides what happened."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class SimulatedClock:
    """Wall and CPU time that only `spend` moves."""

    resolution_ns = 1

    def __init__(self) -> None:
        self.wall_ns, self.cpu_ns = 0, 0

    def wall(self) -> int:
        return self.wall_ns

    def cpu(self) -> int:
        return self.cpu_ns

    def spend(self, wall_ns: float, cpu_ns: float) -> None:
        self.wall_ns += round(wall_ns)
        self.cpu_ns += round(cpu_ns)


def work(
    clock: SimulatedClock,
    cost_ns: float,
    rng: np.random.Generator,
    *,
    jitter: float = 0.0,
    burst: float = 0.0,
    burst_times: float = 6.0,
    waits_ns: float = 0.0,
    drift: float = 0.0,
) -> Callable[[], None]:
    """A run of `cost_ns`: CPU time with 0.5 % log-normal noise, wall time with `jitter` more, and bursts of other
    people's load that stretch a run's wall time `burst_times` with probability `burst`. `waits_ns` is slept, not
    computed; `drift` makes everything slower by that share a second."""

    def run() -> None:
        slower = 1 + drift * clock.wall_ns / 1e9
        cpu = cost_ns * slower * np.exp(0.005 * rng.standard_normal())
        wall = cpu * np.exp(abs(jitter * rng.standard_normal()))
        if burst and rng.random() < burst:
            wall *= burst_times
        clock.spend(wall + waits_ns, cpu)

    return run
