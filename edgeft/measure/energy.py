"""Joules of one inference, float against quantized or new against old: the paired quads of latency, with a meter.

A block runs one side for a while, and its energy is divided by its runs. Blocks of both sides alternate (ABBA or BAAB,
at random), so that warmth, the fan and other processes meet both; a quad gives one log ratio, and the interval of their
centre is the inverted signed-rank test (`stats.signed_rank_bounds`), as for times. Of each side the median of its
blocks is given with the distribution-free bounds of the median.

The figure is what the meter saw meanwhile, idle power included: what a battery gives. `idle_w` says how much of it the
machine takes anyway, as far as it is idle.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .meters import Absent, Meter, find
from .quads import judge
from .stats import median_bounds, signed_rank_bounds

CONFIDENCE = 0.99
#: seconds of a block: counters move every millisecond, sensors of boards every few; and of idling
BLOCK, IDLE = 0.25, 0.5
#: seconds of a piece of a block after which the clock is asked
PIECE = 0.005
#: quads where nobody says so: the fewest that bound a ratio on both sides at 99 %
QUADS = 8

#: one timed block: {"uj", "seconds", "runs"}
Block = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Energy:
    """What was measured. `mj` are millijoules a run of each side (the last one is the artifact's), `bounds` their 99 %
    intervals, `ratio` and `ci99` the last side over the first (None of one side alone). `blocks` is how many a side."""

    meter: str
    mj: tuple[float, ...]
    bounds: tuple[tuple[float, float] | None, ...]
    ratio: float | None
    ci99: tuple[float, float] | None
    idle_w: float | None
    blocks: int


def block(meter: Meter, invoke: Callable[[], object], seconds: float | None = None) -> dict[str, float]:
    """Run `invoke` for about `seconds` (None: `BLOCK`): {"uj": microjoules, "seconds", "runs"}.

    The clock is asked every few milliseconds, not after every run: of a model that takes a microsecond the asking would
    be most of the energy. Raises as `Meter.measured`.
    """
    runs = 0

    def work() -> None:
        nonlocal runs
        begun, end = time.perf_counter(), time.perf_counter() + (BLOCK if seconds is None else seconds)
        piece = 1

        while begun < end:
            for _ in range(piece):
                invoke()
            runs += piece
            now = time.perf_counter()
            piece = piece * 2 if now - begun < PIECE else piece
            begun = now

    spent, took = meter.measured(work)
    return {"uj": spent, "seconds": took, "runs": float(runs)}


def idle(meter: Meter, seconds: float | None = None) -> float:
    """Watts while this process sleeps for `seconds` (None: `IDLE`)."""
    spent, took = meter.measured(lambda: time.sleep(IDLE if seconds is None else seconds))
    return spent / took / 1e6


def compare(
    name: str,
    sides: Sequence[Block],
    idle_w: float | None,
    *,
    quads: int = QUADS,
    rng: np.random.Generator | None = None,
) -> Energy | Absent:
    """Energy a run of one side, or of two against each other. `name` is the meter's.

    `Absent` where the meter did not move in most of the blocks (a virtual machine that shows a dead counter).
    """
    rng = rng or np.random.default_rng()
    rows: list[list[list[tuple[float, float]]]] = []
    for _ in range(quads):
        quad: list[list[tuple[float, float]]] = [[] for _ in sides]
        for side in _order(len(sides), rng):
            answer = sides[side]()
            quad[side].append((1e3 * answer["uj"] / answer["runs"], 1e9 * answer["seconds"] / answer["runs"]))
        rows.append(quad)

    blocks = np.array(rows)  # (quads, sides, blocks, [nanojoules, nanoseconds] a run)
    if np.median(blocks[..., 0]) <= 0:
        return Absent(f"the meter {name} does not move: it is there and counts nothing, as in virtual machines")

    each = [blocks[:, side, :, 0].ravel() / 1e6 for side in range(len(sides))]  # mJ
    bounds = tuple(_finite(median_bounds(values, CONFIDENCE)) for values in each)
    ratio, interval = None, None

    if len(sides) == 2:
        judged, _, _ = judge(blocks, CONFIDENCE, signed_rank_bounds)
        ratio, interval = judged.estimate, _finite((judged.low, judged.high))

    return Energy(
        name, tuple(float(np.median(v)) for v in each), bounds, ratio, interval, idle_w, int(blocks.shape[0] * 2)
    )


def _order(sides: int, rng: np.random.Generator) -> tuple[int, ...]:
    if sides == 1:
        return (0, 0)
    return (0, 1, 1, 0) if rng.random() < 0.5 else (1, 0, 0, 1)


def _finite(bounds: tuple[float, float]) -> tuple[float, float] | None:
    return bounds if all(map(math.isfinite, bounds)) and bounds[0] > 0 else None


def here(runs: Sequence[Callable[[], object]]) -> Energy | Absent:
    """`compare` of functions in this process, with this machine's meter; a reading that fails makes it `Absent`."""
    meter = find()
    if isinstance(meter, Absent):
        return meter
    try:
        return compare(meter.name, [partial(block, meter, run) for run in runs], idle(meter))
    except (OSError, ValueError) as error:
        return failed(meter, error)


def failed(meter: Meter, error: Exception) -> Absent:
    """The `Absent` of a meter that could not be read all through."""
    return Absent(f"the meter {meter.name} could not be read all through: {error}")


def as_result(energy: Energy | Absent, first: str, last: str = "") -> dict[str, Any]:
    """JSON values: {"absent": why}, or "meter", "idle_w", "blocks", "<side>_mj" and "<side>_ci99" ([low, high] or
    None), and of two sides "ratio" (last over first) with "ci99". Without a name it is "mj" and
    "mj_ci99"."""
    if isinstance(energy, Absent):
        return {"absent": energy.why}

    table: dict[str, Any] = {"meter": energy.meter, "idle_w": energy.idle_w, "blocks": energy.blocks}
    for name, mj, bounds in zip((first, last), energy.mj, energy.bounds):
        table[f"{name}_mj".lstrip("_")] = mj
        table[f"{name}_ci99" if name else "mj_ci99"] = list(bounds) if bounds else None

    if energy.ratio is not None:
        table |= {"ratio": energy.ratio, "ci99": list(energy.ci99) if energy.ci99 else None}

    return table
