from __future__ import annotations

import numpy as np
import pytest
from simulated import SimulatedClock, work

from edgeft.measure.latency import P99_NEEDS, measure, rate

KEYS = {
    *("schema", "verdict", "estimate_pct", "ci99_pct", "tolerance_pct", "clock", "samples", "p50_ms", "min_ms"),
    *("looks", "throttled", "fingerprint"),
}


def run(cost_ms: float, **options):
    clock = SimulatedClock()
    noise = options.pop("noise", {})
    return measure(work(clock, cost_ms * 1e6, np.random.default_rng(0), **noise), clock=clock, **options)


def test_percentiles_are_those_of_single_runs():
    found = run(2.0, max_seconds=2)
    assert set(found) >= {*KEYS, "p90_ms", "p95_ms", "p99_ms"}
    assert found["samples"] == pytest.approx(1000, rel=0.05)
    assert found["min_ms"] < found["p50_ms"] < found["p90_ms"] < found["p95_ms"] < found["p99_ms"]
    assert found["p50_ms"] == pytest.approx(2.0, rel=0.01)
    low, high = found["p95_ci95_ms"]
    assert low <= found["p95_ms"] <= high


def test_p99_is_left_out_where_the_samples_do_not_support_it():
    found = run(200.0, max_seconds=1)
    assert found["samples"] == 64
    assert "p99_ms" not in found and "p95_ms" in found
    few = run(200.0, max_seconds=1, min_samples=8)
    assert "p90_ms" not in few and few["p95_ci95_ms"] is None


def test_bursts_show_in_the_tail_and_not_in_the_median():
    found = run(1.0, noise={"burst": 0.08}, max_seconds=2)
    assert found["p50_ms"] < 1.05 and found["p99_ms"] > 5
    assert found["cpu_p50_ms"] == pytest.approx(1.0, rel=0.01)


def test_nothing_is_claimed_that_was_not_measured():
    found = run(1.0, max_seconds=0.1)
    assert found["verdict"] is None and found["throttled"] is None
    assert run(1.0, max_seconds=0.1, throttled=lambda: True)["throttled"] is True
    assert run(1.0, max_seconds=0.1, fingerprint={"cpu": "x"})["fingerprint"] == {"cpu": "x"}


def test_the_control_rate_is_that_of_p99():
    found = run(2.0, noise={"burst": 0.08}, max_seconds=2)
    told = rate(found)
    assert told["rate_hz"] == 1000 / found["p99_ms"] < 1000 / found["p50_ms"]
    assert told["samples"] == found["samples"] >= P99_NEEDS
    assert rate(run(200.0, max_seconds=1)) == {"rate_hz": None, "p99_ms": None, "samples": 64}
    assert rate(run(20.0, max_seconds=0.1, min_samples=P99_NEEDS))["rate_hz"] == pytest.approx(50, rel=0.05)
