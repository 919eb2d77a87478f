"""Latency: is the quantized artifact faster than the float baseline in the same runtime, and within its budget?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..config.recipe import Gates
from ..core.verdict import ADVISORY, FAIL, INCONCLUSIVE, PASS, Verdict
from ..measure.quads import Comparison
from ..measure.slower import beyond_noise, remedies

WHERE = ("host", "device", "emulated")


def speedup(comparison: Comparison) -> tuple[float, tuple[float, float]]:
    """(float over quantized, its 99 % interval) of a comparison with a = float and b = quantized."""
    return 1 / comparison.estimate, (
        1 / comparison.high if comparison.high > 0 else 0.0,
        1 / comparison.low if comparison.low > 0 else math.inf,
    )


def latency(
    comparison: Comparison | None,
    gates: Gates,
    *,
    on_target: bool,
    where: str = "host",
    int8: Mapping[str, Any] | None = None,
    keep_float: Sequence[str] = (),
    float_kernels: bool = False,
) -> Verdict:
    """The speed-up against `min_speedup`, judged on its distribution-free 99 % interval.

    Fail when the upper bound misses the limit, pass when the lower bound meets it. In between, `decide = "point"`
    passes an estimate that meets the limit, and everything else is inconclusive. An interval without end is never a
    pass, and neither is a figure from another kind of CPU: that is advisory.

    `float_kernels`: the format only stores weights in fewer bytes, and the runtime computes what it computes for the
    baseline. Equal speed is then the truth, which no measurement shows to lie at or above 1: a limit of at most 1 is
    met unless the artifact is slower beyond noise.

    An artifact that is slower than float beyond noise is reported whatever the limit, with what to do instead:
    `int8` {"share", "float_ops"} of the artifact and the recipe's `keep_float` tell which (`measure.slower`).
    """
    limit = gates.min_speedup
    if comparison is None or not comparison.a_ms or not comparison.b_ms:
        why = "nothing was measured"
        return Verdict(
            "latency", FAIL if on_target else ADVISORY, why, metric="speedup", limit=limit, required=on_target
        )

    estimate, (low, high) = speedup(comparison)
    if high < limit:
        verdict, word = FAIL, "is below"
    elif low >= limit:
        verdict, word = PASS, "meets"
    elif float_kernels and limit <= 1 and math.isfinite(high) and low > 0:
        verdict, word = PASS, "is within noise of"
    elif math.isfinite(high) and low > 0 and estimate >= limit and gates.decide == "point":
        verdict, word = PASS, "meets (by its estimate)"
    else:
        verdict, word = INCONCLUSIVE, "cannot be distinguished from"

    why = f"{estimate:.3g}x the float speed (99 % {low:.3g} to {high:.3g}, {comparison.clock} clock)"
    why += f" {word} {limit:.3g}x" if limit else ", no limit is set"
    if not on_target:
        verdict, why = ADVISORY, f"{why}; measured on the {where}, which is not the target"
    if beyond_noise((low, high)):
        measured = int8 or {}
        why += f"; slower than float: {remedies(measured.get('share'), measured.get('float_ops') or {}, keep_float)}"
    return Verdict(
        "latency",
        verdict,
        why,
        metric="speedup",
        float=1.0,
        quantized=estimate,
        limit=limit,
        n=comparison.quads,
        required=on_target,
    )


def budget(measured: Mapping[str, Any] | None, gates: Gates, *, on_target: bool, where: str = "host") -> Verdict:
    """p95 of single invocations, in ms, against `latency_ms`; only to be asked where there is such a budget.

    `measured` is what `measure.latency.measure` returned. `decide = "point"` judges p95 itself; "bound" wants the
    distribution-free bound of p95 (binomial, one side at 99 %) on the right side of the budget.
    """
    limit = gates.latency_ms
    p95 = (measured or {}).get("p95_ms")
    if measured is None or p95 is None:
        samples = (measured or {}).get("samples", 0)
        verdict = (INCONCLUSIVE if samples else FAIL) if on_target else ADVISORY
        why = f"{samples} samples are too few for a p95" if samples else "nothing was measured"
        return Verdict("latency", verdict, why, metric="p95_ms", limit=limit, n=samples, required=on_target)

    interval = measured.get("p95_ci95_ms")
    low, high = measured.get("p95_bounds99_ms") or (0.0, math.inf)
    met, missed = (high <= limit, low > limit) if gates.decide == "bound" else (p95 <= limit, p95 > limit)
    verdict = PASS if met else FAIL if missed else INCONCLUSIVE
    why = f"p95 {p95:.4g} ms, budget {limit:.4g} ms"

    if gates.decide == "bound":
        what = {PASS: f"below {high:.4g}", FAIL: f"above {low:.4g}"}.get(verdict, f"between {low:.4g} and {high:.4g}")
        why += f"; p95 is {what} ms at 99 % confidence ({measured['samples']} calls)"

    if not on_target:
        verdict, why = ADVISORY, f"{why}; measured on the {where}, which is not the target"

    return Verdict(
        "latency",
        verdict,
        why,
        metric="p95_ms",
        quantized=p95,
        ci95=(interval[0], interval[1]) if interval else None,
        limit=limit,
        n=int(measured["samples"]),
        required=on_target,
    )
