"""Two artifacts, each in processes of its own, to a regression verdict: slower, not slower, or inconclusive.

One process is one draw of memory layout, page colours and thread placement, which move a run's time by a per cent or
more for as long as the process lives. So both sides are started afresh for every *round*; inside a round they take
turns in ABBA or BAAB quads (`quads.py`), and a verdict needs two things that fail for different reasons:

- the distribution-free bound (signed ranks) of the ratio over all quads lies beyond the tolerance, and
- the rounds agree: so many of their medians lie on that side that chance alone would do it in one case of eight.

Looks at the data come after 3, 4, 6 and 8 rounds; the error of the bound is shared out over them (Bonferroni).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..core import interrupt
from ..core.errors import EdgeftError, SystemFailure
from ..core.verdict import FAIL, INCONCLUSIVE, PASS
from .clock import Clock, SystemClock
from .quads import Interval, choose, judge
from .stats import binomial_cdf, signed_rank_bounds

#: after how many rounds to look
LOOKS = (3, 4, 6, 8)
#: quads of a round: as many as its share of the time allows, between these
FEWEST_QUADS, MOST_QUADS = 4, 24
#: a timed block lasts at least this long
BLOCK_NS = 10_000_000
#: a run this long needs no untimed one before its block: what the other process left in the caches is lost in it
LEAD_NS = 20_000_000
#: the rounds agree when as many medians or more on one side have at most this chance of happening by coin tosses
AGREEMENT = 0.125
CONFIDENCE = 0.99


class Arm(Protocol):
    """One artifact, loaded and warmed up in a process of its own."""

    run_ns: float  # wall time of one run, as warming up found it

    def block(self, repeats: int, lead: int) -> tuple[int, int]:
        """`lead` untimed runs, then the (wall, cpu) ns of `repeats` runs together; cpu is that of the process."""
        ...


#: starts both sides afresh and warms them up: (old, new)
Opener = Callable[[], contextlib.AbstractContextManager[tuple[Arm, ...]]]


@dataclass(frozen=True)
class Regression:
    """What `regression` found. Ratios are new over old: above 1, the new artifact is slower.

    `low` and `high` bound the median ratio of all quads at `confidence` over all looks together; `rounds` are the
    medians of the rounds on the same clock. `old_ms` and `new_ms` hold milliseconds a run, one entry a timed block.
    `tolerance` is a ratio - 1. `end` says why measuring ended: settled, rounds, time.
    """

    verdict: str
    why: str
    estimate: float
    low: float
    high: float
    confidence: float
    tolerance: float
    clock: str
    why_clock: str
    wall: Interval
    cpu: Interval | None
    rounds: tuple[float, ...]
    quads: int
    looks: int
    old_ms: tuple[float, ...]
    new_ms: tuple[float, ...]
    cpu_share: float
    end: str
    seconds: float


def regression(
    opener: Opener,
    *,
    tolerance: float,
    max_seconds: float = 60.0,
    confidence: float = CONFIDENCE,
    looks: Sequence[int] = LOOKS,
    wall_only: bool = False,
    settle: bool = True,
    clock: Clock | None = None,
    rng: np.random.Generator | None = None,
    again: Callable[[EdgeftError], bool] | None = None,
) -> Regression:
    """Judge the new artifact against the old one: `fail` where it is slower by more than `tolerance` (0.02 = 2 %).

    At least `looks[0]` rounds are measured, unless they would take twice `max_seconds`; then measuring ends with a
    verdict, or after the last look, or when the next round would end after `max_seconds`. `wall_only` is for
    accelerators, whose work no CPU clock sees. `settle` False measures all rounds (calibration). Where a round fails,
    `again` says whether to begin it anew (a connection that broke).

    Raises `SystemFailure` for a measurement of no or negative length: what measured nothing passes nothing.
    """
    clock = clock or SystemClock()
    rng = rng or np.random.default_rng()
    start = clock.wall()
    per_look = 1 - (1 - confidence) / len(looks)
    needed = math.ceil(math.log2(2 / (1 - per_look)))  # fewer quads cannot be bounded: 2 * 0.5^n is their least error
    fewest = max(FEWEST_QUADS, math.ceil(needed / looks[0]))
    limit = math.log1p(tolerance)

    blocks: list[np.ndarray] = []  # a round each: (quads, side, block, clock), in ns a run
    result: Regression | None = None
    longest = 0.0
    for looked, target_size in enumerate(looks, start=1):
        while len(blocks) < target_size:
            begun = clock.wall()
            interrupt.check()
            allowed = max_seconds if len(blocks) >= looks[0] else 2 * max_seconds
            if blocks and (begun - start) / 1e9 + longest > allowed:
                break
            left = max_seconds * 1e9 - (begun - start)
            share = left / (looks[-1] - len(blocks))
            try:
                with opener() as (old, new):
                    # measuring may take as long as starting did, or few long rounds would become many empty ones
                    until = max(begun + share, 2 * clock.wall() - begun)
                    blocks.append(_round(old, new, fewest, until, clock, rng))
            except EdgeftError as error:
                if again is None or not again(error):
                    raise
                continue
            longest = max(longest, (clock.wall() - begun) / 1e9)
        out_of_time = len(blocks) < target_size
        seconds = (clock.wall() - start) / 1e9
        end = "time" if out_of_time else "rounds"
        result = _look(blocks, limit, confidence, per_look, looked, wall_only, end, seconds)
        if out_of_time or (settle and result.verdict != INCONCLUSIVE):
            break
    assert result is not None
    return result


def agreeing(rounds: int) -> int:
    """How many of so many rounds must lie on one side: the fewest whose binomial tail at 1/2 is within `AGREEMENT`."""
    for k in range(rounds, 0, -1):
        if 1 - binomial_cdf(k - 1, rounds, 0.5) > AGREEMENT + 1e-9:
            return k + 1
    return 1


def _round(old: Arm, new: Arm, fewest: int, until: float, clock: Clock, rng: np.random.Generator) -> np.ndarray:
    """The quads of one pair of processes, ns a run: (quads, side, block, clock)."""
    arms = (old, new)
    repeats = [max(1, math.ceil(BLOCK_NS / max(arm.run_ns, 1.0))) for arm in arms]
    leads = [0 if arm.run_ns >= LEAD_NS else 1 for arm in arms]
    quads: list[list[list[tuple[float, float]]]] = []
    took = 0.0

    while len(quads) < fewest or (len(quads) < MOST_QUADS and clock.wall() + took < until):
        begun = clock.wall()
        quad: list[list[tuple[float, float]]] = [[], []]
        for side in (0, 1, 1, 0) if rng.random() < 0.5 else (1, 0, 0, 1):
            wall, cpu = arms[side].block(repeats[side], leads[side])
            if wall <= 0 or cpu < 0:
                what = "a measurement of no length" if wall == 0 else "the clock stepped back"
                raise SystemFailure(
                    f"{what}: {repeats[side]} runs took {wall} ns by the wall clock, {cpu} ns of CPU",
                    remedy="the system's clock cannot be trusted; measure on another one",
                )
            quad[side].append((wall / repeats[side], cpu / repeats[side]))

        quads.append(quad)
        took = clock.wall() - begun

    return np.array(quads)


def _look(
    blocks: list[np.ndarray],
    limit: float,
    confidence: float,
    per_look: float,
    looked: int,
    wall_only: bool,
    end: str,
    seconds: float,
) -> Regression:
    together = np.concatenate(blocks)
    wall, cpu, share = judge(together, per_look, signed_rank_bounds)
    name, why_clock = ("wall", "an accelerator's work is seen by the wall clock alone") if wall_only else ("", "")
    if not name:
        name, why_clock = choose(wall, cpu, share)

    chosen = wall if name == "wall" or cpu is None else cpu
    at = 0 if name == "wall" else 1
    sums = [part.sum(axis=2)[:, :, at] for part in blocks]
    medians = np.array([np.median(np.log(np.maximum(part[:, 1], 1) / np.maximum(part[:, 0], 1))) for part in sums])
    need = agreeing(len(medians))
    slower, within = int((medians > limit).sum()), int((medians < limit).sum())
    low, high = math.log(chosen.low) if chosen.low > 0 else -math.inf, math.log(chosen.high)

    if low > limit and slower >= need:
        verdict = FAIL
    elif high < limit and within >= need:
        verdict = PASS
    else:
        verdict = INCONCLUSIVE

    why = _words(verdict, low, high, limit, slower, within, need, len(medians), end)
    side = together[..., at] / 1e6

    return Regression(
        verdict=verdict,
        why=why,
        estimate=chosen.estimate,
        low=chosen.low,
        high=chosen.high,
        confidence=confidence,
        tolerance=math.expm1(limit),
        clock=name,
        why_clock=why_clock,
        wall=wall,
        cpu=cpu,
        rounds=tuple(np.exp(medians).tolist()),
        quads=len(together),
        looks=looked,
        old_ms=tuple(side[:, 0].ravel().tolist()),
        new_ms=tuple(side[:, 1].ravel().tolist()),
        cpu_share=share,
        end="settled" if verdict != INCONCLUSIVE else end,
        seconds=seconds,
    )


def _words(
    verdict: str, low: float, high: float, limit: float, slower: int, within: int, need: int, rounds: int, end: str
) -> str:
    tolerance = f"the tolerance of {math.expm1(limit):.2%}".replace("%", " %")
    if verdict == FAIL:
        return f"slower than {tolerance}: the whole interval, and {slower} of {rounds} pairs of processes"
    if verdict == PASS:
        return f"not slower than {tolerance}: the whole interval, and {within} of {rounds} pairs of processes"

    if low <= limit <= high:
        why = f"{tolerance} lies inside the interval"
    else:
        agree = slower if low > limit else within
        why = f"the processes disagree: {agree} of {rounds} pairs lie on that side of {tolerance}, {need} are needed"

    return why + ("; the time allowed is used up" if end == "time" else "; all rounds are measured")
