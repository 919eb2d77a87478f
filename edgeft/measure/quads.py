"""Two callables, interleaved in paired quads (ABBA or BAAB, at random), to the ratio of their times with its interval.

A quad cancels what drifts linearly while it lasts; the median over quads ignores bursts; the interval is the inverted
sign test, so it holds whatever the noise looks like. The quads are looked at a few times and measuring stops once no
limit lies inside the interval; the error is shared out over the looks (Bonferroni), so that looking costs no coverage.
"""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .clock import Clock, SystemClock
from .stats import median_bounds, percentiles

#: one timed block lasts at least this long (or this many steps of the clock), so that reading the clock costs nothing.
BLOCK_NS = 2_000_000
BLOCK_STEPS = 100
#: warm-up ends when this many blocks in a row lie this close together ...
STABLE_BLOCKS, STABLE_WITHIN = 5, 0.05
#: ... or when it has taken this share of the time allowed.
WARM_UP_SHARE = 0.25
#: the machine is starved when its wall quads spread by more than this, and by more than twice what the CPU quads do.
STARVED_SPREAD, STARVED_TIMES = 0.04, 2.0
#: a process that got less CPU time than this share of the wall time, and whose wall quads spread more than its CPU
#: quads, was waiting for a processor.
STARVED_SHARE = 0.9
MAX_LOOKS = 6

#: (log ratios, confidence) -> the interval of their centre
Bounds = Callable[[np.ndarray, float], tuple[float, float]]


@dataclass(frozen=True)
class Interval:
    """The median ratio b/a on one clock, its bounds, and the interquartile range of the quads' log ratios."""

    estimate: float
    low: float
    high: float
    spread: float


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. Ratios are b over a: above 1, b is slower.

    `clock` names the clock that `estimate`, `low` and `high` come from, `why` says why it was chosen. `a_ms` and
    `b_ms` (2 per quad) are milliseconds a run, each the mean of one timed block of `repeats` runs, on that clock.
    `steady` is False when warm-up ran out of time before the runs settled.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    clock: str
    why: str
    wall: Interval
    cpu: Interval | None
    quads: int
    looks: int
    repeats: tuple[int, int]
    a_ms: tuple[float, ...]
    b_ms: tuple[float, ...]
    cpu_share: float
    steady: bool
    seconds: float

    @property
    def a_median_ms(self) -> float:
        return float(np.median(self.a_ms))

    @property
    def b_median_ms(self) -> float:
        return float(np.median(self.b_ms))

    def percentiles(self) -> dict[str, dict[str, float]]:
        """{"a": {...}, "b": {...}}: percentiles of the blocks' means, in ms."""
        return {"a": percentiles(np.array(self.a_ms)), "b": percentiles(np.array(self.b_ms))}


def compare(
    run_a: Callable[[], object],
    run_b: Callable[[], object],
    *,
    clock: Clock | None = None,
    limits: Sequence[float] = (),
    confidence: float = 0.99,
    max_seconds: float = 10.0,
    min_quads: int = 16,
    max_quads: int = 256,
    rng: np.random.Generator | None = None,
) -> Comparison:
    """Measure time(run_b) / time(run_a).

    `limits` are the ratios on which a decision hangs: measuring goes on until none of them lies inside the interval,
    or `max_quads` or `max_seconds` (of wall time, warm-up included) is reached. Without limits `min_quads` is enough.
    At least 8 quads are always measured, because fewer give no bound at 99 %.
    """
    clock, rng = clock or SystemClock(), rng or np.random.default_rng()
    start, block_ns = clock.wall(), max(BLOCK_NS, BLOCK_STEPS * clock.resolution_ns)
    deadline = start + int(max_seconds * 1e9)

    runs, half_warm = (run_a, run_b), int(max_seconds * WARM_UP_SHARE * 1e9 / 2)
    warmed = [_warm_up(run, clock, block_ns, start + half_warm * turn) for turn, run in enumerate(runs, start=1)]
    repeats = (warmed[0][0], warmed[1][0])

    schedule = _looks(min_quads, max_quads if limits else min_quads)
    per_look = 1 - (1 - confidence) / len(schedule)
    blocks: list[np.ndarray] = []  # one (side, block, clock) array a quad, in ns a run
    looks = 0
    with _no_collection():
        for target in schedule:
            while len(blocks) < target and (len(blocks) < _least_quads(per_look) or clock.wall() < deadline):
                order = (0, 1, 1, 0) if rng.random() < 0.5 else (1, 0, 0, 1)
                blocks.append(_quad(runs, order, repeats, clock))
            looks += 1
            reading = _read(blocks, per_look)
            if reading.settles(limits) or clock.wall() >= deadline:
                break

    a_ms, b_ms = _block_ms(blocks, reading.clock)

    return Comparison(
        estimate=reading.chosen.estimate,
        low=reading.chosen.low,
        high=reading.chosen.high,
        confidence=confidence,
        clock=reading.clock,
        why=reading.why,
        wall=reading.wall,
        cpu=reading.cpu,
        quads=len(blocks),
        looks=looks,
        repeats=repeats,
        a_ms=a_ms,
        b_ms=b_ms,
        cpu_share=reading.cpu_share,
        steady=all(steady for _, steady in warmed),
        seconds=(clock.wall() - start) / 1e9,
    )


def of_processes(quads: Sequence[Sequence[Sequence[float]]], why: str, confidence: float = 0.99) -> Comparison:
    """The comparison of quads (side a or b, first or second process) of milliseconds a run, each from a process of its
    own whose runs were timed by something else: a vendor's tool, which sees the accelerator's work alone."""
    blocks = np.stack([np.asarray(quads, np.float64) * 1e6, np.zeros(np.shape(quads))], axis=-1)
    wall, _, _ = judge(blocks, confidence)
    a_ms, b_ms = _block_ms(list(blocks), "wall")

    return Comparison(
        estimate=wall.estimate,
        low=wall.low,
        high=wall.high,
        confidence=confidence,
        clock="wall",
        why=why,
        wall=wall,
        cpu=None,
        quads=len(blocks),
        looks=1,
        repeats=(1, 1),
        a_ms=a_ms,
        b_ms=b_ms,
        cpu_share=0.0,
        steady=True,
        seconds=float(blocks.sum()) / 1e9,
    )


@dataclass(frozen=True)
class _Reading:
    """One look at the quads so far: the ratio on both clocks, and the clock that is believed."""

    wall: Interval
    cpu: Interval | None
    cpu_share: float
    clock: str
    why: str

    @property
    def chosen(self) -> Interval:
        return self.wall if self.clock == "wall" or self.cpu is None else self.cpu

    def settles(self, limits: Sequence[float]) -> bool:
        """Whether no limit lies inside the interval."""
        return not any(self.chosen.low < limit < self.chosen.high for limit in limits)


def _block_ms(blocks: Sequence[np.ndarray], clock: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Milliseconds a run of every block of either side."""
    sides = np.array(blocks)[..., 0 if clock == "wall" else 1] / 1e6
    return tuple(sides[:, 0].ravel().tolist()), tuple(sides[:, 1].ravel().tolist())


def _read(blocks: Sequence[np.ndarray], confidence: float) -> _Reading:
    wall, cpu, share = judge(np.array(blocks), confidence)
    return _Reading(wall, cpu, share, *choose(wall, cpu, share))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector, whose pauses would be counted."""
    collecting = gc.isenabled()
    gc.disable()

    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _looks(first: int, last: int) -> list[int]:
    """After how many quads to look: doubling from `first` to `last`, at most `MAX_LOOKS` times."""
    schedule = [first]
    while schedule[-1] < last and len(schedule) < MAX_LOOKS:
        schedule.append(min(last, schedule[-1] * 2))
    return schedule


def _least_quads(confidence: float) -> int:
    """The smallest number of quads that can be bounded on both sides: 2 * 0.5^n <= 1 - confidence."""
    return math.ceil(math.log2(2 / (1 - confidence)))


def _warm_up(run: Callable[[], object], clock: Clock, block_ns: int, until: int) -> tuple[int, bool]:
    """Run until the time of a block settles: (runs a block, whether it settled before the wall time `until`)."""
    run()  # the first run allocates and compiles: never counted
    repeats = 1
    recent: list[float] = []

    while True:
        begin = clock.wall()
        for _ in range(repeats):
            run()
        took = clock.wall() - begin
        if took < block_ns:  # still too short to time: lengthen, and judge steadiness from here on
            short = math.ceil(repeats * 1.2 * block_ns / took) if took > 0 else repeats * 10
            repeats, recent = max(repeats + 1, min(short, repeats * 10)), []
        else:
            recent = [*recent, took / repeats][-STABLE_BLOCKS:]
            if len(recent) == STABLE_BLOCKS and max(recent) <= min(recent) * (1 + STABLE_WITHIN):
                return repeats, True
            if clock.wall() >= until:
                return repeats, False


def _quad(
    runs: tuple[Callable[[], object], Callable[[], object]], order: Sequence[int], repeats: Sequence[int], clock: Clock
) -> np.ndarray:
    """Four timed blocks: ns a run as an array (side a or b, first or second block, wall or cpu)."""
    durations: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for side in order:
        run, times = runs[side], repeats[side]
        cpu, wall = clock.cpu(), clock.wall()
        for _ in range(times):
            run()
        wall, cpu = clock.wall() - wall, clock.cpu() - cpu
        durations[side].append((wall / times, cpu / times))

    return np.array(durations)


def judge(
    blocks: np.ndarray, confidence: float, bounds: Bounds = median_bounds
) -> tuple[Interval, Interval | None, float]:
    """The ratio on both clocks from blocks (quad, side, block, clock); None where the CPU clock did not move."""
    sums = blocks.sum(axis=2)
    wall = _interval(sums[:, :, 0], confidence, bounds)
    share = float(np.median(sums[:, :, 1] / np.maximum(sums[:, :, 0], 1)))
    moved = bool((sums[:, :, 1] > 0).all())

    return wall, _interval(sums[:, :, 1], confidence, bounds) if moved else None, share


def _interval(sums: np.ndarray, confidence: float, bounds: Bounds) -> Interval:
    logs = np.log(np.maximum(sums[:, 1], 1) / np.maximum(sums[:, 0], 1))
    low, high = bounds(logs, confidence)
    lower, upper = np.quantile(logs, [0.25, 0.75])
    return Interval(math.exp(np.median(logs)), math.exp(low), math.exp(high), float(upper - lower))


def choose(wall: Interval, cpu: Interval | None, share: float) -> tuple[str, str]:
    """The clock to believe. Wall time is what a user waits for; CPU time only stands in where others disturbed it.

    The CPU clock does not see waiting, nor how well threads run side by side. Where its interval and the wall's do
    not meet, the two measure different things, and the wall is right.
    """
    if cpu is None:
        return "wall", "the CPU clock did not advance"

    starved = wall.spread > max(STARVED_SPREAD, STARVED_TIMES * cpu.spread) or (
        share < STARVED_SHARE and wall.spread > cpu.spread
    )
    if not starved:
        return "wall", f"wall times are steady (spread {wall.spread:.1%})"
    if cpu.low > wall.high or cpu.high < wall.low:
        return "wall", "wall and CPU times disagree beyond noise: one side waits or runs in parallel"

    spread = f"wall times spread {wall.spread:.1%}, CPU times {cpu.spread:.1%}"
    return "cpu", f"the machine is busy ({spread}; {share:.2f} s of CPU a second)"
