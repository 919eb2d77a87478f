from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from simulated import SimulatedClock, pairs_of

from edgeft.core.errors import SystemFailure
from edgeft.measure import pairs, stats

MS = 1_000_000
#: noise of a quiet machine, and of one where others compute too
QUIET = {"process": 0.006, "jitter": 0.01}
BUSY = {"process": 0.006, "jitter": 0.5, "burst": 0.2}


def judged(ratio: float, seed: int, *, cost: float = 4 * MS, tolerance=0.02, max_seconds=10.0, **noise):
    clock, rng = SimulatedClock(), np.random.default_rng(seed)
    opener = pairs_of(clock, cost, cost * ratio, rng, **noise)
    return pairs.regression(
        opener, tolerance=tolerance, max_seconds=max_seconds, clock=clock, rng=np.random.default_rng(seed + 1)
    )


def test_so_many_rounds_must_agree():
    assert [pairs.agreeing(n) for n in range(3, 9)] == [3, 4, 5, 5, 6, 7]
    for n in range(3, 9):
        assert 1 - stats.binomial_cdf(pairs.agreeing(n) - 1, n, 0.5) <= pairs.AGREEMENT + 1e-9
    assert pairs.agreeing(1) > 1, "one round can never agree with itself"


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, "pass"), (0.7, "pass"), (1.1, "fail"), (3.0, "fail")])
def test_clear_cases_are_settled_at_the_first_look(ratio, verdict):
    found = judged(ratio, 3, **QUIET)
    assert (found.verdict, found.looks, found.end) == (verdict, 1, "settled")
    assert found.low < ratio < found.high or found.estimate == pytest.approx(ratio, rel=0.02)
    assert len(found.rounds) == 3 and found.quads >= 9
    assert found.seconds <= 10


def test_two_processes_take_turns_in_mirrored_order():
    sides = []

    class Noting:
        run_ns = 4.0 * MS

        def __init__(self, side):
            self.side = side

        def block(self, repeats, lead):
            sides.append(self.side)
            return 4.0 * MS * repeats, 4.0 * MS * repeats

    pairs._round(Noting("a"), Noting("b"), 12, 0.0, SimulatedClock(), np.random.default_rng(0))
    assert {"".join(sides[at : at + 4]) for at in range(0, len(sides), 4)} == {"abba", "baab"}


def test_a_busy_machine_is_judged_by_the_cpu_clock():
    found = judged(1.1, 4, **BUSY)
    assert found.clock == "cpu" and found.verdict == "fail"


def test_accelerators_are_judged_by_the_wall_clock():
    clock, rng = SimulatedClock(), np.random.default_rng(0)
    opener = pairs_of(clock, MS, MS, rng, **BUSY)
    found = pairs.regression(opener, tolerance=0.02, max_seconds=10, clock=clock, wall_only=True, rng=rng)
    assert found.clock == "wall" and "accelerator" in found.why_clock


def test_processes_that_disagree_settle_nothing():
    # every block is precise, but each process has its own speed: the bound alone would be sure of itself
    verdicts = Counter(judged(1.02, seed, process=0.05, max_seconds=60).verdict for seed in range(40))
    assert verdicts["inconclusive"] >= 20


def test_out_of_time_is_inconclusive_and_says_so():
    found = judged(1.02, 5, max_seconds=1.0, **QUIET)
    assert found.verdict == "inconclusive" and found.end == "time"
    assert "time allowed is used up" in found.why


def test_slow_models_get_the_fewest_quads():
    found = judged(1.0, 6, cost=400 * MS, max_seconds=12.0, **QUIET)
    assert found.quads == 12 and found.verdict == "pass"  # 4 a round: fewer than 10 could not be bounded


def test_what_measured_nothing_is_an_error():
    clock, rng = SimulatedClock(), np.random.default_rng(0)

    def still(seconds: float, cpu: float) -> None:
        del seconds, cpu

    opener = pairs_of(clock, MS, MS, rng)
    clock.spend = still  # type: ignore[method-assign]
    with pytest.raises(SystemFailure, match="no length"):
        pairs.regression(opener, tolerance=0.02, clock=clock)


def test_a_clock_that_steps_back_is_an_error():
    clock, rng = SimulatedClock(), np.random.default_rng(0)
    opener = pairs_of(clock, MS, MS, rng)
    spend = clock.spend
    clock.spend = lambda wall, cpu: spend(-wall, cpu)  # type: ignore[method-assign]
    with pytest.raises(SystemFailure, match="stepped back"):
        pairs.regression(opener, tolerance=0.02, clock=clock)


def rates(ratio: float, n: int, **noise: float) -> Counter[str]:
    return Counter(judged(ratio, 1000 + 7 * seed, **noise).verdict for seed in range(n))


# 2000 comparisons in all. The limits of the counts are the rates with the binomial noise of so many draws.
def test_two_thousand_comparisons_on_simulated_machines():
    quiet, busy = rates(1.0, 400, **QUIET), rates(1.0, 400, **BUSY)
    for same in (quiet, busy):
        assert stats.clopper_pearson(same["fail"], 400, 0.99)[0] <= 0.01
    assert quiet["pass"] >= 0.9 * 400
    for noise in (QUIET, BUSY):
        ten, five = rates(1.10, 300, **noise), rates(1.05, 300, **noise)
        assert ten["fail"] >= 0.95 * 300 and ten["pass"] == 0
        assert five["fail"] >= 0.8 * 300 and five["pass"] <= 0.05 * 300


def test_the_interval_covers_the_true_ratio():
    missed = 0
    for seed in range(200):
        found = judged(1.03, 5000 + seed, jitter=0.05, burst=0.05)
        missed += not found.low <= 1.03 <= found.high
    assert stats.clopper_pearson(missed, 200, 0.99)[0] <= 0.01


def test_the_interval_is_of_the_whole_confidence():
    found = judged(1.0, 9, **QUIET)
    assert found.confidence == 0.99 and math.isfinite(found.low) and math.isfinite(found.high)


def test_each_look_has_its_share_of_the_error():
    """The interval of a first look is that of a test without further ones at a fifth of the error, not at all of it."""

    def bounds(looks: tuple[int, ...], confidence: float) -> tuple[float, float]:
        clock, rng = SimulatedClock(), np.random.default_rng(5)
        opener = pairs_of(clock, 4 * MS, 4 * MS, rng, **QUIET)
        result = pairs.regression(
            opener,
            tolerance=0.5,
            max_seconds=1e6,
            confidence=confidence,
            looks=looks,
            clock=clock,
            rng=np.random.default_rng(6),
        )
        assert result.looks == 1
        return result.low, result.high

    shared = bounds(pairs.LOOKS, 0.99)
    assert shared == bounds(pairs.LOOKS[:1], 1 - 0.01 / len(pairs.LOOKS))
    narrow = bounds(pairs.LOOKS[:1], 0.99)
    assert shared[0] < narrow[0] and narrow[1] < shared[1]
