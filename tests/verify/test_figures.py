"""Latency, size, compatibility, and the report that holds them."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from simulated import SimulatedClock, work

from edgeft.config.recipe import Gates
from edgeft.config.target import Objection, Target
from edgeft.core.verdict import Verdict
from edgeft.measure import quads
from edgeft.measure.latency import measure

verify = importlib.import_module("edgeft.verify")  # the subpackage: `edgeft.verify` is the function

NOISE = {"quiet": {}, "jitter": {"jitter": 0.3}, "bursts": {"jitter": 0.4, "burst": 0.3}}


def compared(ratio: float, seed: int = 0, limit: float = 1.0, **noise) -> quads.Comparison:
    clock, rng = SimulatedClock(), np.random.default_rng(seed)
    runs = (work(clock, 1e6, rng, **noise), work(clock, ratio * 1e6, rng, **noise))
    return quads.compare(*runs, clock=clock, limits=[1 / limit], max_seconds=3, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("noise", NOISE)
def test_a_three_times_slower_artifact_never_passes(noise):
    for seed in range(25):
        for decide in ("point", "bound"):
            gates = Gates(decide=decide)
            assert verify.latency(compared(3.0, seed, **NOISE[noise]), gates, on_target=True).verdict == "fail"


@pytest.mark.parametrize("noise", NOISE)
def test_a_twice_faster_artifact_passes(noise):
    for seed in range(25):
        found = verify.latency(compared(0.5, seed, **NOISE[noise]), Gates(decide="bound"), on_target=True)
        assert found.verdict == "pass" and found.quantized == pytest.approx(2.0, rel=0.1)


def test_what_the_interval_cannot_tell_is_inconclusive_or_goes_by_the_point():
    found = replace(compared(0.9), estimate=0.95, low=0.9, high=1.1)
    assert verify.latency(found, Gates(), on_target=True).verdict == "pass"
    assert verify.latency(found, Gates(decide="bound"), on_target=True).verdict == "inconclusive"
    slower = replace(found, estimate=1.05)
    assert verify.latency(slower, Gates(), on_target=True).verdict == "inconclusive"
    endless = replace(found, low=0.0, high=math.inf)
    assert verify.latency(endless, Gates(), on_target=True).verdict == "inconclusive"
    assert verify.latency(endless, Gates(min_speedup=0.0), on_target=True).verdict == "pass"


def test_a_format_that_only_stores_weights_smaller_has_to_be_no_slower():
    noisy = replace(compared(0.9), estimate=1.05, low=0.9, high=1.1)
    found = verify.latency(noisy, Gates(decide="bound"), on_target=True, float_kernels=True)
    assert found.verdict == "pass" and "is within noise of 1x" in found.why
    assert verify.latency(compared(1.5), Gates(), on_target=True, float_kernels=True).verdict == "fail"
    assert verify.latency(noisy, Gates(min_speedup=1.2), on_target=True, float_kernels=True).verdict != "pass"
    endless = replace(noisy, low=0.0, high=math.inf)
    assert verify.latency(endless, Gates(), on_target=True, float_kernels=True).verdict == "inconclusive"


def test_speed_off_the_target_is_advisory():
    found = verify.latency(compared(3.0), Gates(), on_target=False, where="host")
    assert found.verdict == "advisory" and not found.required and "host" in found.why
    assert verify.latency(None, Gates(), on_target=False).verdict == "advisory"


@pytest.mark.parametrize(
    "limit, on_target, verdict", [(0.0, True, "pass"), (1.0, True, "fail"), (1.0, False, "advisory")]
)
def test_slower_than_float_is_said_with_the_fallback_whatever_the_gate_decides(limit, on_target, verdict):
    int8 = {"share": 0.97, "float_ops": {"Softmax": 6}}
    found = verify.latency(compared(1.5), Gates(min_speedup=limit), on_target=on_target, int8=int8, keep_float=["head"])
    assert found.verdict == verdict and "slower than float: these ops stayed float" in found.why
    assert "Softmax x6" in found.why and "(now head)" in found.why
    assert "edgeft export --auto" in found.why
    faster = verify.latency(compared(0.5), Gates(min_speedup=limit), on_target=on_target, int8=int8)
    assert "slower than float" not in faster.why
    assert ("no limit is set" in faster.why) == (limit == 0)
    noisy = replace(compared(0.9), estimate=1.05, low=0.9, high=1.1)
    assert "slower than float" not in verify.latency(noisy, Gates(min_speedup=limit), on_target=on_target).why


def test_speed_that_was_not_measured_fails_where_it_must_be():
    found = verify.latency(None, Gates(), on_target=True)
    assert found.verdict == "fail" and "nothing was measured" in found.why


def test_the_budget_is_judged_on_p95():
    clock = SimulatedClock()
    measured = measure(
        work(clock, 2e6, np.random.default_rng(0), jitter=0.1), clock=clock, min_samples=400, max_seconds=1
    )
    assert verify.budget(measured, Gates(latency_ms=3.0), on_target=True).verdict == "pass"
    assert verify.budget(measured, Gates(latency_ms=2.0), on_target=True).verdict == "fail"
    low, high = measured["p95_ci95_ms"]
    inside = Gates(latency_ms=(low + high) / 2, decide="bound")
    assert verify.budget(measured, inside, on_target=True).verdict == "inconclusive"
    below, above = measured["p95_bounds99_ms"]
    assert below < low and above > high  # a surer bound is a wider one
    sure = verify.budget(measured, Gates(latency_ms=above * 1.001, decide="bound"), on_target=True)
    assert sure.verdict == "pass" and f"p95 is below {above:.4g} ms at 99 % confidence" in sure.why
    assert verify.budget(measured, Gates(latency_ms=above * 0.999, decide="bound"), on_target=True).verdict != "pass"
    few = {"samples": 60, "p95_ms": 1.0, "p95_ci95_ms": None, "p95_bounds99_ms": None}
    assert verify.budget(few, Gates(latency_ms=2.0, decide="bound"), on_target=True).verdict == "inconclusive"
    assert verify.budget(measured, Gates(latency_ms=2.0), on_target=False).verdict == "advisory"
    assert verify.budget({"samples": 20}, Gates(latency_ms=2.0), on_target=True).verdict == "inconclusive"
    assert verify.budget(None, Gates(latency_ms=2.0), on_target=True).verdict == "fail"


def test_size():
    assert verify.size(4_000_000, 1_000_000, Gates(size_mb=1.0)).verdict == "pass"
    assert verify.size(4_000_000, 1_000_001, Gates(size_mb=1.0)).verdict == "fail"
    free = verify.size(4_000_000, 1_000_000, Gates())
    assert free.verdict == "pass" and not free.required and "4.00x smaller" in free.why
    assert "larger than float" in verify.size(1_000, 2_000, Gates()).why
    assert verify.size(4_000_000, 0, Gates()).verdict == "fail"


def board(**changes) -> Target:
    return Target(name="board", title="A board", **changes)


@pytest.mark.parametrize(
    ("rules", "good", "bad"),
    [
        ({"opset": (13, 17)}, {"opset": 17}, {"opset": 18}),
        ({"ir_version": 9}, {"ir_version": 9}, {"ir_version": 10}),
        (
            {"backend": "litert", "op_versions": {"*": 5, "ADD": 2}},
            {"op_versions": {"ADD": 2, "CONV_2D": 5}},
            {"op_versions": {"ADD": 3, "CONV_2D": 5}},
        ),
        ({"static_shapes": True}, {"dynamic": False}, {"dynamic": True}),
        ({"max_rank": 4}, {"max_rank": 4}, {"max_rank": 5}),
        ({"refused_ops": ("cumsum",)}, {"ops": {"Conv": 3}}, {"ops": {"Conv": 3, "CumSum": 1}}),
        ({"full_integer": True}, {"float_ops": []}, {"float_ops": ["SOFTMAX"]}),
    ],
)
def test_compatibility_by_each_rule(rules, good, bad):
    assert verify.compatibility(board(**rules), good).verdict == "pass"
    found = verify.compatibility(board(**rules), bad)
    assert found.verdict == "fail" and "board" in found.why
    unread = verify.compatibility(board(**rules), {})
    assert unread.verdict == "unverified" and next(iter(good)) in unread.why


def test_figures_of_another_format_are_not_asked_for():
    target = board(backend="openvino", opset=(13, 17), ir_version=9, op_versions={"*": 1})
    assert verify.compatibility(target, {"ir_version": 11, "opsets": {"opset1": 3}}).verdict == "pass"


def test_objections_and_absent_compilers():
    refused = [Objection("refuse", "cumsum", "not there")]
    assert "cumsum" in verify.compatibility(board(compiler="edgetpu"), {}, refused).why
    warned = verify.compatibility(board(compiler="edgetpu"), {}, [Objection("warn", "batch", "fixed at 1")])
    assert warned.verdict == "unverified" and "edgetpu" in warned.why and "fixed at 1" in warned.why
    assert verify.compatibility(board(), {}).verdict == "pass"


def test_only_the_target_itself_may_gate_speed():
    assert verify.on_target(board(backend="litert"), "litert")
    assert not verify.on_target(board(backend="litert"), "onnxruntime")
    assert not verify.on_target(board(form="tensorrt"), "onnxruntime")
    assert not verify.on_target(board(compiler="edgetpu"), "onnxruntime")
    assert not verify.on_target(board(cpu_features=("made_up",)), "onnxruntime")


KEYS = {
    "schema",
    "target",
    "backend",
    "verdict",
    "gates",
    "latency",
    "size",
    "int8_share",
    "worst_class",
    "fingerprint",
}
PASSED = Verdict("parity", "pass", "fine", n=8)


def made(*gates: Verdict, **options):
    found = verify.report(target="host", backend="litert", gates=gates, **options)
    json.dumps(found, allow_nan=False)
    return found


def test_the_report_has_the_keys_of_the_contract():
    found = made(
        PASSED, comparison=compared(0.5), float_bytes=4, quantized_bytes=1, int8_share=np.float32(0.5), name="x"
    )
    assert set(found) >= {*KEYS, "name"}
    assert set(found["latency"]) >= {"float_ms", "quantized_ms", "speedup", "ci99", "where"}
    low, high = found["latency"]["ci99"]
    assert low < found["latency"]["speedup"] < high and found["latency"]["where"] == "host"
    gate = {"name", "metric", "float", "quantized", "drop", "ci95", "limit", "n", "verdict", "why", "required", "unit"}
    assert set(found["gates"][0]) == gate
    assert found["size"] == {"float_bytes": 4, "quantized_bytes": 1} and found["int8_share"] == 0.5
    assert made(PASSED)["latency"]["speedup"] is None


def test_the_worst_required_gate_is_the_verdict():
    other = Verdict("latency", "inconclusive", "noise", n=16)
    assert made(PASSED)["verdict"] == "pass"
    assert made(PASSED, other)["verdict"] == "inconclusive"
    assert made(PASSED, other, Verdict("accuracy", "fail", "lost", n=9))["verdict"] == "fail"
    assert made(PASSED, Verdict("latency", "advisory", "slow", required=False))["verdict"] == "pass"
    unseen = made(PASSED, Verdict("compatibility", "unverified", "no compiler"))
    assert unseen["verdict"] == "pass" and unseen["unverified"] == ["compatibility"]
    needing = made(PASSED, Verdict("compatibility", "unverified", "has not run", needs="vela"))
    assert needing["unverified"] == ["vela"]


def test_a_required_gate_that_measured_nothing_fails():
    assert made()["verdict"] == "fail"
    found = made(PASSED, Verdict("accuracy", "pass", "fine", n=0))
    assert found["verdict"] == "fail" and "nothing was measured" in found["gates"][1]["why"]
    assert made(Verdict("latency", "advisory", "elsewhere", required=False))["verdict"] == "fail"


def test_figures_that_are_not_finite_are_none():
    endless = replace(compared(0.9), low=0.0, high=math.inf)
    assert made(PASSED, comparison=endless)["latency"]["ci99"] == [0.0, None]
