"""report.json: the gates and figures as one strict JSON object, with the keys that scripts rely on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core.verdict import ADVISORY, FAIL, INCONCLUSIVE, PASS, UNVERIFIED, Verdict, worst
from ..measure.quads import Comparison
from .latency import speedup

SCHEMA = "1.0"


def report(
    *,
    target: str,
    backend: str,
    gates: Sequence[Verdict],
    comparison: Comparison | None = None,
    where: str = "host",
    float_bytes: int | None = None,
    quantized_bytes: int | None = None,
    int8_share: float | None = None,
    worst_class: Mapping[str, Any] | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """The content of report.json (`json.dumps(..., allow_nan=False)` takes it). What was not measured is None.

    The verdict is the worst of the required gates; one of them that passed on nothing (n = 0) counts as a fail.
    `unverified` names what could not be checked here (a compiler, else the gate), `not_repeated` the required gates of
    which the report has only what an earlier one recorded, or nothing. `extra` keys are added at the end.
    """
    checked = [_measured(gate) for gate in gates]
    document: dict[str, Any] = clean(
        {
            "schema": SCHEMA,
            "target": target,
            "backend": backend,
            "verdict": worst(checked),
            "unverified": unverified(checked),
            "not_repeated": not_repeated(checked),
            "gates": [gate.as_dict() for gate in checked],
            "latency": latency_table(comparison, where),
            "size": {"float_bytes": float_bytes, "quantized_bytes": quantized_bytes},
            "int8_share": int8_share,
            "worst_class": worst_class,
            "fingerprint": fingerprint or {},
            **extra,
        }
    )

    return document


def merge(report: Mapping[str, Any], gates: Sequence[Verdict]) -> dict[str, Any]:
    """`report` (a report) with `gates` in front of its own; its advisory word on what they measured is dropped.

    The verdict and the list of what is unverified are made anew.
    """
    names = {gate.name for gate in gates}
    replaced = names & {"accuracy", "agreement", "compatibility"}
    earlier = [Verdict(**{**gate, "ci95": gate["ci95"] and tuple(gate["ci95"])}) for gate in report["gates"]]
    merged = [*map(_measured, gates), *(gate for gate in earlier if gate.name not in replaced)]
    document: dict[str, Any] = clean(
        {
            **report,
            "verdict": worst(merged),
            "unverified": unverified(merged),
            "not_repeated": not_repeated(merged),
            "gates": [gate.as_dict() for gate in merged],
        }
    )

    return document


def unverified(gates: Sequence[Verdict]) -> list[str]:
    """What has to run before the gates that are unverified can be judged: the compiler's name, else the gate's."""
    return list(dict.fromkeys(gate.needs or gate.name for gate in gates if gate.verdict == UNVERIFIED))


def not_repeated(gates: Sequence[Verdict]) -> list[str]:
    """The names of the required gates that were not measured: with a recorded verdict, or accuracy without any."""
    names = [
        gate.name
        for gate in gates
        if gate.recorded in (PASS, FAIL, INCONCLUSIVE)
        or (gate.name == "accuracy" and gate.verdict == ADVISORY and not gate.n)
    ]
    return list(dict.fromkeys(names))


def latency_table(comparison: Comparison | None, where: str) -> dict[str, Any]:
    """`latency` of the report: ms a run of both, the speed-up and its 99 % interval, and how they were measured."""
    if comparison is None:
        keys = ("float_ms", "quantized_ms", "speedup", "ci99")
        return {**dict.fromkeys(keys), "where": where}

    estimate, interval = speedup(comparison)
    return {
        "float_ms": comparison.a_median_ms,
        "quantized_ms": comparison.b_median_ms,
        "speedup": estimate,
        "ci99": list(interval),
        "where": where,
        "clock": comparison.clock,
        "why": comparison.why,
        "quads": comparison.quads,
        "steady": comparison.steady,
        "samples_ms": {"float": list(comparison.a_ms), "quantized": list(comparison.b_ms)},
    }


def clean(value: Any) -> Any:
    """Plain JSON values: numpy scalars and arrays unwrapped, tuples as lists, figures that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if hasattr(value, "tolist"):
        return clean(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None

    return value


def _measured(gate: Verdict) -> Verdict:
    if gate.required and gate.verdict == PASS and gate.n == 0 and gate.name != "compatibility":
        return replace(gate, verdict=FAIL, why=f"{gate.why}; nothing was measured")
    return gate
