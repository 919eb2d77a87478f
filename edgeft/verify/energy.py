"""Energy: the joules of one inference against a budget, where the machine has a meter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..config.recipe import Gates
from ..core.verdict import ADVISORY, FAIL, INCONCLUSIVE, PASS, UNVERIFIED, Verdict
from ..measure import energy
from ..measure.energy import Energy
from ..measure.meters import Absent


def judged(
    float_run: Callable[[], object], quantized_run: Callable[[], object], gates: Gates, *, on_target: bool, where: str
) -> tuple[Verdict, dict[str, Any]]:
    """(the gate, the report's `energy`): the artifact and its float baseline in this process, in paired quads."""
    result = energy.here([float_run, quantized_run])
    figures = {**energy.as_result(result, "float", "quantized"), "where": where}
    return budget(result, gates, on_target=on_target, where=where), figures


def budget(result: Energy | Absent, gates: Gates, *, on_target: bool, where: str = "host") -> Verdict:
    """Millijoules a run against `energy_mj`; only to be asked where there is such a budget.

    `decide = "point"` judges the median of the blocks, "bound" wants its 99 % interval on one side of the budget.
    Without a meter the gate is unverified: it is measured on the board, by `edgeft verify --device`. What another kind
    of machine takes is advisory.
    """
    limit = gates.energy_mj
    if isinstance(result, Absent):
        remedy = "measure on the board: edgeft verify BUNDLE --device ssh://user@board"
        why = f"energy was not measured: {result.why}"
        return Verdict(
            "energy", UNVERIFIED, why, metric="mJ", limit=limit, required=False, needs="meter", remedy=remedy
        )

    mj, bounds = result.mj[-1], result.bounds[-1]
    low, high = bounds or (0.0, float("inf"))
    met, missed = (high <= limit, low > limit) if gates.decide == "bound" else (mj <= limit, mj > limit)
    verdict = PASS if met else FAIL if missed else INCONCLUSIVE
    why = f"{mj:.4g} mJ a run, budget {limit:.4g} mJ ({result.meter}, {result.blocks} blocks)"
    if bounds:
        why += f"; its median is {low:.4g} to {high:.4g} mJ at 99 % confidence"
    if not on_target:
        verdict, why = ADVISORY, f"{why}; measured on the {where}, which is not the target"

    return Verdict(
        "energy",
        verdict,
        why,
        metric="mJ",
        float=result.mj[0] if len(result.mj) == 2 else None,
        quantized=mj,
        ci95=None,
        limit=limit,
        n=result.blocks,
        required=on_target,
    )
