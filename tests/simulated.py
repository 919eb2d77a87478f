"""A machine in software: runs advance a clock by their cost and by noise, so that a test decides what happened."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

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


class SimulatedArm:
    """One process: its own speed (`process` is the spread of processes), blocks as `work` runs them."""

    def __init__(
        self, clock: SimulatedClock, cost_ns: float, rng: np.random.Generator, *, process: float = 0.0, **noise: float
    ) -> None:
        self.clock = clock
        self.run_ns = cost_ns * float(np.exp(process * rng.standard_normal()))
        self._run = work(clock, self.run_ns, rng, **noise)

    def block(self, repeats: int, lead: int) -> tuple[int, int]:
        for _ in range(lead):
            self._run()
        wall, cpu = self.clock.wall_ns, self.clock.cpu_ns
        for _ in range(repeats):
            self._run()
        return self.clock.wall_ns - wall, self.clock.cpu_ns - cpu


def pairs_of(
    clock: SimulatedClock,
    old_ns: float,
    new_ns: float,
    rng: np.random.Generator,
    *,
    start_ns: float = 5e8,
    **noise: float,
) -> Callable[[], contextlib.AbstractContextManager[tuple[SimulatedArm, SimulatedArm]]]:
    """An opener of fresh pairs of processes, which take `start_ns` of wall time to start."""

    @contextlib.contextmanager
    def opener() -> Iterator[tuple[SimulatedArm, SimulatedArm]]:
        clock.spend(start_ns, 0)
        yield SimulatedArm(clock, old_ns, rng, **noise), SimulatedArm(clock, new_ns, rng, **noise)

    return opener
