from __future__ import annotations

import gc
import math

import numpy as np
import pytest
from simulated import SimulatedClock, work

from edgeft.measure import quads
from edgeft.measure.clock import SystemClock

MS = 1_000_000


def compare(ratio: float, seed: int, *, cost: float = MS, limits=(), wait: float = 0.0, max_seconds=20.0, **noise):
    clock, rng = SimulatedClock(), np.random.default_rng(seed)
    return quads.compare(
        work(clock, cost, rng, **noise),
        work(clock, cost * ratio, rng, waits_ns=wait, **noise),
        clock=clock,
        limits=limits,
        max_seconds=max_seconds,
        rng=np.random.default_rng(seed + 1),
    )


def test_finds_the_ratio_on_a_quiet_machine():
    found = compare(0.5, 0)
    assert found.clock == "wall"
    assert found.low < 0.5 < found.high
    assert found.high / found.low < 1.02
    assert found.quads == 16 and found.looks == 1 and found.steady


@pytest.mark.parametrize("cost", [3_000, 300_000, 30 * MS])
def test_blocks_last_long_enough_to_be_timed(cost):
    found = compare(3.0, 1, cost=cost, max_seconds=60)
    for repeats, one in zip(found.repeats, (cost, 3 * cost)):
        assert repeats * one >= 0.95 * quads.BLOCK_NS
    assert len(found.a_ms) == len(found.b_ms) == 2 * found.quads
    assert np.median(found.a_ms) == pytest.approx(cost / 1e6, rel=0.02)
    assert np.median(found.b_ms) == pytest.approx(3 * cost / 1e6, rel=0.02)


def test_linear_drift_cancels():
    found = compare(1.0, 2, drift=0.5)
    assert found.low < 1.0 < found.high
    assert found.high / found.low < 1.02


def test_the_sides_of_a_quad_are_in_mirrored_order():
    """ABBA or BAAB: in ABAB the second side would be measured later on average, and a drift would count against it."""
    blocks, clock = [], SimulatedClock()

    def run(side):
        def spend():
            if not blocks or blocks[-1] is not None:
                blocks.append(side)
            clock.spend(4 * MS, 4 * MS)

        return spend

    quads.compare(run("a"), run("b"), clock=clock, max_seconds=20.0, rng=np.random.default_rng(0))
    quad_orders = ["".join(blocks[at : at + 4]) for at in range(len(blocks) - 4 * 16, len(blocks), 4)]
    assert set(quad_orders) == {"abba", "baab"}


def test_several_looks_share_the_error():
    """Each look has a higher confidence than all together: otherwise looking often would find what is not there."""
    confidences = []

    def read(blocks, confidence):
        confidences.append(confidence)
        return real(blocks, confidence)

    real, quads._read = quads._read, read
    try:
        compare(0.99, 7, limits=[0.99], jitter=0.05)
        several = list(confidences)
        confidences.clear()
        compare(0.5, 8)
    finally:
        quads._read = real
    assert len(several) > 1 and len(set(several)) == 1 and several[0] > 0.99 + (1 - 0.99) / 2
    assert confidences == [pytest.approx(0.99)]


def test_a_busy_machine_is_measured_by_its_cpu_clock():
    found = compare(0.5, 3, jitter=0.4, burst=0.3)
    assert found.clock == "cpu" and "busy" in found.why
    assert found.low < 0.5 < found.high and found.high / found.low < 1.05
    assert found.wall.spread > found.cpu.spread


def test_a_side_that_waits_cannot_hide_behind_the_cpu_clock():
    # b computes half as much but sleeps: three times slower for whoever waits for it
    found = compare(0.5, 4, wait=2.5 * MS, jitter=0.25, max_seconds=30)
    assert found.clock == "wall"
    assert found.low > 2.0


def test_waiting_on_a_steady_machine_is_wall_time():
    found = compare(1.0, 5, wait=2 * MS)
    assert found.clock == "wall" and found.low > 2.9 and found.cpu.high < 1.05


def test_a_cpu_clock_that_stands_still_is_not_used():
    class Stopped(SimulatedClock):
        def cpu(self) -> int:
            return 0

    clock, rng = Stopped(), np.random.default_rng(0)
    slow = work(clock, 2 * MS, rng, jitter=0.5)
    found = quads.compare(slow, slow, clock=clock, rng=rng)
    assert found.clock == "wall" and found.cpu is None


def test_looks_again_until_no_limit_lies_inside_the_interval():
    near = compare(1.001, 6, limits=[1.0], jitter=0.1, max_seconds=60)
    assert near.quads > 16 and near.looks > 1
    far = compare(2.0, 6, limits=[1.0], jitter=0.1, max_seconds=60)
    assert far.quads == 16 and far.looks == 1


def test_a_tie_ends_when_the_quads_or_the_time_are_used_up():
    tie = compare(1.0, 7, limits=[1.0], max_seconds=60)
    assert tie.quads <= 256 and tie.looks <= quads.MAX_LOOKS
    short = compare(1.0, 7, cost=50 * MS, limits=[1.0], max_seconds=0.001)
    assert short.quads < 16 and math.isfinite(short.low) and math.isfinite(short.high)
    assert not short.steady


@pytest.mark.parametrize("noise", [{"jitter": 0.3}, {"jitter": 0.05, "burst": 0.1}, {"jitter": 0.4, "burst": 0.3}])
def test_equal_speeds_are_rarely_told_apart(noise):
    # 99 % intervals that may stop early: at most a few of 60 may miss the truth
    wrong = 0
    for seed in range(60):
        found = compare(1.0, 100 + seed, limits=[1.0], max_seconds=3, **noise)
        wrong += not found.low <= 1.0 <= found.high
    assert wrong <= 3


@pytest.mark.parametrize("noise", [{}, {"jitter": 0.3}, {"jitter": 0.4, "burst": 0.3}])
def test_three_times_slower_is_always_seen(noise):
    for seed in range(20):
        assert compare(3.0, 200 + seed, limits=[1.0], max_seconds=3, **noise).low > 1.0


def test_the_same_seeds_give_the_same_result():
    assert compare(0.7, 9, jitter=0.2) == compare(0.7, 9, jitter=0.2)


def test_the_garbage_collector_is_left_as_it_was():
    assert gc.isenabled()
    clock = SimulatedClock()

    def broken() -> None:
        if clock.wall_ns > 60 * MS:
            raise RuntimeError("stop")
        clock.spend(MS, MS)

    with pytest.raises(RuntimeError, match="stop"):
        quads.compare(broken, broken, clock=clock)
    assert gc.isenabled()


def test_real_clocks_move():
    clock = SystemClock()
    wall, cpu = clock.wall(), clock.cpu()
    while clock.cpu() == cpu:
        pass
    assert clock.wall() > wall and clock.resolution_ns >= 1
    found = quads.compare(lambda: sum(range(500)), lambda: sum(range(500)), max_seconds=0.3)
    assert found.quads >= 8 and found.estimate > 0 and found.clock in ("wall", "cpu")
    assert {"min", "p50"} <= set(found.percentiles()["b"])
