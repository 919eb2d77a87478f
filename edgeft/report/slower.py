"""A model that is slower than its float baseline: a sentence for every form of the report, with what to ship."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..measure.slower import NO_DYNAMIC, beyond_noise, remedies
from . import words


def sentence(report: Mapping[str, Any]) -> str:
    """That the artifact is slower than float, and the remedies; "" where it is not, or where noise hides it."""
    latency = words.table(report.get("latency"))
    interval = words.pair(latency.get("ci99"))
    if interval is None or not beyond_noise(interval):
        return ""

    where = words.line(latency.get("where") or "")
    place = f" on the {where}" if where else ""
    speed = words.figure(latency.get("speedup"), "ratio")

    if any(gate.get("verdict") == "advisory" for gate in _latency_gates(report.get("gates"))):
        elsewhere = "it is not the target, whose own speed has to be measured there before you decide"
        return f"{words.number_format(report)} is slower than float{place}: {speed} its speed; {elsewhere}."

    measured, keep_float = words.table(report.get("int8")), report.get("keep_float")
    counts = {words.line(op): words.finite(count) for op, count in words.table(measured.get("float_ops")).items()}
    todo = remedies(
        words.finite(measured.get("share")),
        {op: int(count) for op, count in counts.items() if count is not None},
        [words.line(pattern) for pattern in keep_float] if isinstance(keep_float, (list, tuple)) else (),
    )

    return f"{words.number_format(report)} is slower than float{place}: {speed} its speed; {todo}."


def told(gates: Any) -> bool:
    """Whether a gate that did not pass, whose reason is shown, has stated it already."""
    return any(gate.get("verdict") != "pass" and NO_DYNAMIC in str(gate.get("why")) for gate in _latency_gates(gates))


def _latency_gates(gates: Any) -> list[Mapping[str, Any]]:
    tables = [words.table(gate) for gate in gates or ()]
    return [table for table in tables if table.get("name") == "latency"]
