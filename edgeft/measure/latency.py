"""How long one invocation takes: percentiles of single runs, for `edgeft bench BUNDLE` and a latency budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .clock import Clock, SystemClock
from .stats import QUANTILE_NEEDS, percentiles, quantile_bounds

SCHEMA = "1.0"
#: calls at least; and before a p99 stands on anything
FEWEST, P99_NEEDS = 64, QUANTILE_NEEDS[0.99]
#: calls before a p95 can be bounded from above at 99 %: 0.95^n <= 0.01
BUDGET_NEEDS = 90
WARM_UP_RUNS = 5


def measure(
    run: Callable[[], object],
    *,
    clock: Clock | None = None,
    max_seconds: float = 3.0,
    min_samples: int = FEWEST,
    max_samples: int = 2000,
    throttled: Callable[[], bool | None] | None = None,
    fingerprint: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Time single calls of `run` (a session's `invoke`) by the wall clock; the keys are those of a bench result.

    p50, p90, p95 and p99 are in ms and left out where the number of samples does not support them. `p95_ci95_ms` is
    the distribution-free 95 % interval of p95 and `p95_bounds99_ms` a lower and an upper bound at 99 % each, None where
    n is too small; `cpu_p50_ms` the process CPU time of a run. There is no other artifact to compare with, so
    `verdict`, `estimate_pct`, `ci99_pct` and `tolerance_pct` are None.
    `throttled` asks the board after the measurement; None when it cannot be told. At least `min_samples` runs are
    made even if they take longer than `max_seconds`.
    """
    clock = clock or SystemClock()
    for _ in range(WARM_UP_RUNS):
        run()

    deadline = clock.wall() + int(max_seconds * 1e9)
    walls: list[int] = []
    cpus: list[int] = []

    while len(walls) < max_samples and (len(walls) < min_samples or clock.wall() < deadline):
        cpu, wall = clock.cpu(), clock.wall()
        run()
        walls.append(clock.wall() - wall)
        cpus.append(clock.cpu() - cpu)

    extra = {"throttled": throttled() if throttled else None, "fingerprint": dict(fingerprint or {})}
    return {**of_calls(np.array(walls) / 1e6), "cpu_p50_ms": float(np.median(cpus)) / 1e6, **extra}


def of_calls(ms: np.ndarray) -> dict[str, Any]:
    """The keys of `measure` for single calls (n,) in ms that something else timed (a vendor's own tool)."""
    low, high = quantile_bounds(ms, 0.95, 0.95)
    least, most = quantile_bounds(ms, 0.95, 0.98)  # one side at 99 %

    return {
        "schema": SCHEMA,
        "verdict": None,
        "estimate_pct": None,
        "ci99_pct": None,
        "tolerance_pct": None,
        "clock": "wall",
        "samples": len(ms),
        **{f"{name}_ms": value for name, value in percentiles(ms).items()},
        "p95_ci95_ms": [low, high] if np.isfinite([low, high]).all() else None,
        "p95_bounds99_ms": [least, most] if np.isfinite([least, most]).all() else None,
        "cpu_p50_ms": None,
        "looks": 1,
        "throttled": None,
        "fingerprint": {},
    }


def rate(measured: Mapping[str, Any]) -> dict[str, float | int | None]:
    """What a control loop may ask for: {"rate_hz", "p99_ms", "samples"} of what `measure` returned.

    The rate is that at which 99 of 100 calls are done before the next one is due, 1000 / p99. Both are None where the
    samples do not support a p99. Reading a sensor and acting on the answer take their own time.
    """
    p99 = measured.get("p99_ms")
    return {"rate_hz": 1000 / p99 if p99 else None, "p99_ms": p99, "samples": int(measured.get("samples") or 0)}
