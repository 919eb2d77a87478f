"""Agreement: the share of samples on which the quantized artifact decides as the float baseline does."""

from __future__ import annotations

from ..config.recipe import Gates
from ..core.verdict import FAIL, INCONCLUSIVE, PASS, Verdict
from ..measure import stats
from ..tasks import Task
from .accuracy import Outputs


def agreement(task: Task, float_outputs: Outputs, quantized_outputs: Outputs, gates: Gates) -> Verdict:
    """The share with its 95 % interval against `gates.min_agreement`, by `gates.decide`.

    The interval is exact (Clopper-Pearson) where a sample is one decision; where it is many (pixels), samples are
    bootstrapped, since neighbouring decisions are no independent evidence. Without a limit (0) it passes on any
    sample; without samples it fails.
    """
    same = task.alike(float_outputs, quantized_outputs)
    n, limit = len(same), gates.min_agreement
    if n == 0:
        return Verdict("agreement", FAIL, "no samples; nothing was measured", metric="agreement", limit=limit)
    share = float(same.mean())
    if same.ndim == 1:
        low, high = stats.clopper_pearson(int(same.sum()), n)
    else:
        shares = same.reshape(n, -1).mean(axis=1)
        low, high = stats.paired_bootstrap(lambda i: float(shares[i].mean()), n)
    met, missed = (low >= limit, high < limit) if gates.decide == "bound" else (share >= limit, share < limit)
    verdict = PASS if met or not limit else FAIL if missed else INCONCLUSIVE
    asked = f", required: {limit:.4g}" if limit else ""
    return Verdict(
        "agreement",
        verdict,
        f"{share:.2%} of {n} samples have the same decision (95 % {low:.2%} to {high:.2%}){asked}",
        metric="agreement",
        quantized=share,
        ci95=(low, high),
        limit=limit,
        n=n,
    )
