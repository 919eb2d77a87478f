"""Which of several artifacts of one model to ship: a pure function of their verdicts, speeds, losses and sizes.

The yardstick is the float model in the runtime that the board's profile names. The rule, in this order:

1. What failed a gate, or could not be made, is never chosen while anything else is there; what passed goes before what
   was inconclusive.
2. A format that computes in integers replaces float only where it is faster beyond the noise: the whole interval of its
   speed over float lies above 1, and the pairs of processes agree. It loses accuracy, and must bring speed for it.
3. Where several are faster than float, the fastest of them and those whose intervals meet its own are level. Where none
   is, float is, and with it the formats that compute as float does in the same runtime, in fewer bytes, and whose
   interval holds 1 and nothing slower by more than `LEVEL`.
4. Of the level ones the smallest is chosen, then the one that loses least of the metric, then the first.

Where nothing was measured, the first that passed is chosen: what was asked for. Where the float model is not among
those that passed, the fastest of the rest takes its place in step 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.verdict import INCONCLUSIVE, PASS

#: how much slower than float a smaller artifact of the same kernels may be, at the slow end of its interval
LEVEL = 0.02
#: verdicts that may be chosen, the better first
ELIGIBLE = (PASS, INCONCLUSIVE)


@dataclass(frozen=True)
class Speed:
    """How often as fast as the yardstick (2 = half the time), with its interval; `agreed`: so say enough processes."""

    estimate: float
    low: float
    high: float
    agreed: bool = True

    @property
    def faster(self) -> bool:
        return self.agreed and self.low > 1

    @property
    def slower(self) -> bool:
        return self.agreed and self.high < 1

    def meets(self, other: Speed) -> bool:
        """Whether the intervals have a value in common."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Candidate:
    """One artifact as the rule sees it.

    `verdict` is that of its bundle, None where there is no bundle. `drop` is what it loses of the task's metric (None:
    not known), `size` its bytes. `kernels` names the kernels that its layers run in: "integer", or those of a runtime's
    floats. `yardstick`: the float model that speeds are relative to.
    """

    name: str
    verdict: str | None
    why: str = ""
    speed: Speed | None = None
    drop: float | None = None
    size: int = 0
    kernels: str = "integer"
    yardstick: bool = False


@dataclass(frozen=True)
class Choice:
    """The place of the chosen one, the reason of every candidate in their order, and those that nothing else beats."""

    chosen: int
    reasons: tuple[str, ...]
    pareto: frozenset[int]


def choose(candidates: Sequence[Candidate]) -> Choice:
    """Apply the rule of this module; raises `ValueError` where no candidate has a bundle.

    Where none is eligible the first that has a bundle is taken, with the verdict that it has.
    """
    made = [place for place, candidate in enumerate(candidates) if candidate.verdict is not None]
    if not made:
        raise ValueError("no candidate has a bundle")

    eligible = _eligible(candidates)
    if not eligible:
        return Choice(made[0], tuple(_failed(c, k == made[0]) for k, c in enumerate(candidates)), frozenset())

    level = _level(candidates, eligible)
    chosen = min(level, key=lambda place: _order(candidates[place], place))
    reasons = tuple(_reason(candidates, place, chosen, eligible, level) for place in range(len(candidates)))
    return Choice(chosen, reasons, pareto(candidates, eligible))


def pareto(candidates: Sequence[Candidate], among: Sequence[int]) -> frozenset[int]:
    """Those of `among` that no other one beats: none is at least as good in speed, drop and size, and better in one."""

    def figures(place: int) -> tuple[float, float, float]:
        candidate = candidates[place]
        speed = candidate.speed.estimate if candidate.speed else 0.0
        return -speed, math.inf if candidate.drop is None else candidate.drop, candidate.size

    def beaten(place: int) -> bool:
        mine = figures(place)
        others = (figures(other) for other in among)
        return any(other != mine and all(a <= b for a, b in zip(other, mine)) for other in others)

    return frozenset(place for place in among if not beaten(place))


def _eligible(candidates: Sequence[Candidate]) -> list[int]:
    """The places of the candidates with the best verdict that may be chosen."""
    for verdict in ELIGIBLE:
        if places := [place for place, candidate in enumerate(candidates) if candidate.verdict == verdict]:
            return places
    return []


def _level(candidates: Sequence[Candidate], eligible: Sequence[int]) -> list[int]:
    """The places among which size and metric decide."""
    measured = {place: speed for place in eligible if (speed := candidates[place].speed) is not None}
    if not measured:
        return [eligible[0]]

    yardsticks = [place for place in measured if candidates[place].yardstick]
    pool = {place: speed for place, speed in measured.items() if speed.faster} if yardsticks else measured
    if not pool:
        float_model = candidates[yardsticks[0]]
        return [yardsticks[0], *(place for place in measured if _no_slower(candidates[place], float_model))]

    best = max(pool.values(), key=lambda speed: speed.estimate)
    return [place for place, speed in pool.items() if speed is best or speed.meets(best)]


def _no_slower(candidate: Candidate, float_model: Candidate) -> bool:
    """Whether it computes as the float model does, in fewer bytes, and is shown to be no slower."""
    alike = not candidate.yardstick and candidate.kernels == float_model.kernels
    speed = candidate.speed
    no_slower = speed is not None and speed.low >= 1 - LEVEL and not speed.slower
    return alike and no_slower and candidate.size < float_model.size


def _order(candidate: Candidate, place: int) -> tuple[float, float, int]:
    return candidate.size, math.inf if candidate.drop is None else candidate.drop, place


def _failed(candidate: Candidate, taken: bool) -> str:
    """The reason where no candidate is eligible."""
    why = candidate.why or f"its verdict is {candidate.verdict}"
    return f"no candidate passes its gates, and this is the first: {why}" if taken else why


def _reason(
    candidates: Sequence[Candidate], place: int, chosen: int, eligible: Sequence[int], level: Sequence[int]
) -> str:
    candidate, winner = candidates[place], candidates[chosen]
    if place == chosen:
        return _why_chosen(candidates, chosen, eligible, level)
    if place not in eligible:
        return candidate.why or f"its verdict is {candidate.verdict}, that of {winner.name} is {winner.verdict}"
    if candidate.speed is None:
        return "it was not measured" if winner.speed else "it was not asked for, and nothing was measured"

    if place in level:
        what = "is smaller" if winner.size < candidate.size else "loses less of the metric"
        same = winner.size == candidate.size and winner.drop == candidate.drop
        return f"as fast as {winner.name} within the noise, which {'comes first' if same else what}"

    if candidate.speed.slower:
        return "slower than float beyond the noise"
    if candidate.speed.faster:
        return f"slower than {winner.name} beyond the noise"
    if candidate.yardstick:
        return f"slower than {winner.name} beyond the noise"

    return "not faster than float beyond the noise"


def _why_chosen(candidates: Sequence[Candidate], chosen: int, eligible: Sequence[int], level: Sequence[int]) -> str:
    winner = candidates[chosen]
    if winner.speed is None:
        return "nothing was measured: the first that passes, in the order of what was asked for"

    among = "" if len(level) == 1 else f", the smallest of the {len(level)} that are level"
    if winner.yardstick:
        return "no other candidate that passes is shown to be faster than float" + among
    if winner.speed.faster:
        return "faster than float beyond the noise" + (among or ", and the fastest")
    if any(candidates[place].yardstick for place in eligible):
        return f"computes as float does and is no slower (by {LEVEL:.0%} at most, shown){among}".replace("%", " %")

    return "the fastest that passes; the float model does not" + among
