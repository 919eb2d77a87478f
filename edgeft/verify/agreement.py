"""Agreement: the share of samples on which the quantized artifact decides as the float baseline does."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..config.recipe import Gates
from ..core.verdict import FAIL, INCONCLUSIVE, PASS, Verdict
from ..measure import stats
from ..tasks import Task, compared
from . import sample_size
from .accuracy import Outputs


def agreement(
    task: Task, float_outputs: Outputs, quantized_outputs: Outputs, gates: Gates, targets: Any = None
) -> Verdict:
    """The share with its 95 % interval against `gates.min_agreement`, by `gates.decide`.

    The interval is exact (Clopper-Pearson) where a sample is one decision; where it is many (pixels, boxes), samples
    are bootstrapped, since neighbouring decisions are no independent evidence. Boxes whose score is close to the one
    from which they are shown do not count, nor do outputs that answer nothing (`Task.answered` of `targets`).
    Without a limit (0) it passes on any sample; without samples it fails.
    """
    n, limit = len(next(iter(float_outputs.values()), ())), gates.min_agreement
    if n == 0:
        return Verdict("agreement", FAIL, "no samples; nothing was measured", metric="agreement", limit=limit)

    decisions = compared(task, float_outputs, quantized_outputs)
    counted = decisions.counted
    if task.answered is not None and targets is not None:
        counted = counted & task.answered(float_outputs, targets).ravel()

    totals = np.bincount(decisions.sample[counted], minlength=n)
    equal = np.bincount(decisions.sample[counted & decisions.equal], minlength=n)
    count = int(totals.sum())

    if count == 0:
        why = f"none of the {task.decision_unit} of {n} samples is clear enough to count"
        return Verdict("agreement", INCONCLUSIVE if limit else PASS, why, metric="agreement", limit=limit, n=n)

    share = float(equal.sum() / count)
    if limit and share >= limit and _is_constant(task, float_outputs):
        why = f"the float model decides the same for all {n} samples: agreement shows nothing, give other samples"
        return Verdict("agreement", INCONCLUSIVE, why, metric="agreement", quantized=share, limit=limit, n=n)

    if (totals <= 1).all():
        low, high = stats.clopper_pearson(int(equal.sum()), count)
        subject = (
            f"{count} samples have the same decision" if count == n else f"{count} {task.decision_unit} are the same"
        )
        n = count
    else:
        low, high = stats.paired_bootstrap(lambda i: float(equal[i].sum() / max(totals[i].sum(), 1)), n)
        if low == high == 1:  # no sample differs: at most the share that n samples could have missed
            low = stats.clopper_pearson(n, n)[0]
        subject = f"{count} {task.decision_unit} in {n} samples are the same"

    met, missed = (low >= limit, high < limit) if gates.decide == "bound" else (share >= limit, share < limit)
    verdict = PASS if met or not limit else FAIL if missed else INCONCLUSIVE
    asked, n_to_decide = f", required: {limit:.4g}" if limit else "", 0

    if limit and low < limit <= high:
        n_to_decide = sample_size.deciding(sample_size.of_interval(-share, (-high, -low), n), -limit, n)
        would = f"about {n_to_decide} samples would decide" if n_to_decide else "no number of samples decides"
        asked += f"; the interval reaches across it, {would}"

    why = f"{share:.2%} of {subject} (95 % {low:.2%} to {high:.2%}){asked}"
    figures: dict[str, Any] = {"quantized": share, "ci95": (low, high), "n_to_decide": n_to_decide}
    return Verdict("agreement", verdict, why, metric="agreement", limit=limit, n=n, **figures)


def _is_constant(task: Task, outputs: Outputs) -> bool:
    """Whether several samples get one and the same choice: an untrained model, or samples of one kind."""
    if not task.discrete or task.compare is not None:  # values, and samples of many decisions
        return False
    decisions = np.asarray(task.decisions(outputs))
    return decisions.dtype != object and len(decisions) > 1 and len(np.unique(decisions, axis=0)) == 1
