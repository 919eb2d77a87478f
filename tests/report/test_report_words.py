"""How figures are written."""

from __future__ import annotations

import math
from typing import Any

import pytest
import report_values as values
from hypothesis import given
from hypothesis import strategies as st

from edgeft.report import words

anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)
units = st.sampled_from(["fraction", "score", "ms", "bytes", "MB", "ratio", "steps", ""])


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.97142, "fraction", "97.14 %"),
        (1, "fraction", "100.00 %"),
        (9.7612, "ms", "9.761 ms"),
        (11_341_234, "bytes", "11.3 MB"),
        (999, "bytes", "999 B"),
        (3.4142, "ratio", "3.41×"),
        (1, "steps", "1 step"),
        (0, "steps", "0 steps"),
        (27.5, "", "27.5"),
        (float("nan"), "ms", "–"),
        (None, "fraction", "–"),
        (True, "fraction", "–"),
        ("0.5", "fraction", "–"),
    ],
)
def test_figures_with_units(value: Any, unit: str, shown: str) -> None:
    assert words.figure(value, unit) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0048, "fraction", "+0.48 points"),
        (-0.0048, "fraction", "-0.48 points"),
        (1e-9, "fraction", "0.00 points"),
        (-1e-9, "fraction", "0.00 points"),
        (0.1, "fraction", "+10.00 points"),
        (0.5, "", "+0.5"),
        (None, "", "–"),
    ],
)
def test_a_drop_is_signed(value: Any, unit: str, shown: str) -> None:
    assert words.change(value, unit) == shown


@pytest.mark.parametrize(
    ("gate", "unit", "limit"),
    [
        ({"name": "accuracy", "metric": "accuracy", "limit": 0.01}, "fraction", "drop ≤ 1.00 points"),
        ({"name": "accuracy", "metric": "BLEU", "limit": 0.5}, "score", "drop ≤ 0.50"),
        ({"name": "accuracy", "metric": "mIoU", "limit": 0.02}, "fraction", "drop ≤ 2.00 points"),
        ({"name": "agreement", "metric": "agreement", "limit": 0.0}, "fraction", "–"),
        ({"name": "agreement", "metric": "agreement", "limit": 0.97}, "fraction", "≥ 97.00 %"),
        ({"name": "integer", "metric": "int8_share", "limit": 0.5}, "fraction", "≥ 50.00 %"),
        ({"name": "latency", "metric": "speedup", "limit": 1.0}, "ratio", "≥ 1.00×"),
        ({"name": "latency", "metric": "p95_ms", "limit": 20}, "ms", "≤ 20 ms"),
        ({"name": "size", "metric": "MB", "limit": 5.0}, "MB", "≤ 5 MB"),
        ({"name": "size", "metric": "MB", "limit": 0}, "MB", "–"),
        ({"name": "parity", "metric": "quantized graph, test split", "limit": 3}, "steps", "≤ 3 steps"),
        ({"name": "compatibility", "metric": "rules broken", "limit": 0.0}, "", "≤ 0"),
        ({"name": "accuracy", "metric": "x", "unit": "cm", "limit": 2}, "cm", "drop ≤ 2 cm"),
        ({"name": "accuracy", "metric": "accuracy", "limit": None}, "fraction", "–"),
    ],
)
def test_a_gates_unit_and_limit(gate: dict[str, Any], unit: str, limit: str) -> None:
    assert words.unit_of(gate) == unit
    assert words.limit(gate) == limit


@given(anything, units)
def test_no_value_breaks_a_figure(value: Any, unit: str) -> None:
    written = [words.figure(value, unit), words.change(value, unit), words.interval([value, value], unit)]
    written += [words.plain(value), words.size(value), words.count(value), words.duration(value), words.line(value)]
    if words.finite(value) is None:
        assert written[:2] == ["–", "–"]
        assert written[2] == ""
    assert all("nan" not in text and "inf" not in text for text in written[:-1])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_finite_is_the_value_itself(value: float) -> None:
    assert words.finite(value) == value
    assert words.finite(math.copysign(math.inf, value)) is None


@given(st.text())
def test_lines_hold_no_control_characters(value: str) -> None:
    shown = words.line(value)
    assert shown == " ".join(shown.split())
    assert all(c.isprintable() or c == " " or ord(c) > 0x9F for c in shown)
    shown.encode("utf-8")


def test_unverified_is_read_first_and_advisory_last() -> None:
    verdicts = [gate["verdict"] for gate in words.in_reading_order(values.report()["gates"])]
    assert verdicts == ["unverified", "pass", "pass", "pass", "advisory", "advisory"]


@pytest.mark.parametrize(
    ("verdict", "gates", "said"),
    [
        ("pass", [("accuracy", "pass"), ("parity", "pass")], "All 2 required gates passed."),
        ("fail", [("accuracy", "fail"), ("parity", "fail"), ("parity", "fail")], "Failed: accuracy, parity."),
        ("fail", [], "Failed: no required gate was measured."),
        ("inconclusive", [("latency", "inconclusive")], "Too noisy to judge: latency."),
        ("pass", [("size", "pass"), ("compatibility", "unverified")], "Not verified here: compatibility."),
        (None, [], "No verdict."),
    ],
)
def test_the_verdict_in_a_sentence(verdict: str | None, gates: list[tuple[str, str]], said: str) -> None:
    report = {"verdict": verdict, "gates": [values.gate(name, found) for name, found in gates]}
    assert said in words.sentence(report)


def test_a_leak_is_no_noise() -> None:
    gate = values.gate("accuracy", "inconclusive") | {"why": "1 of 9 test samples are also in the training split"}
    said = words.sentence({"verdict": "inconclusive", "gates": [gate]})
    assert "data.allow_leak" in said and "noisy" not in said


def test_a_gate_that_decides_nothing_is_not_what_failed() -> None:
    gates = [values.gate("accuracy", "fail"), values.gate("size", "fail", required=False)]
    assert words.sentence({"verdict": "fail", "gates": gates}) == "Failed: accuracy."


def test_marks_of_direction_do_not_reach_a_terminal_or_a_page():
    marks = "\u202e\u202a\u2066\u2069\u200e\u200f\u061c"
    assert words.line(f"safe{marks}gpj.exe") == "safe" + "\ufffd" * len(marks) + "gpj.exe"


def test_a_pass_that_nothing_could_fail_is_none() -> None:
    def gate(name: str, metric: str = "", limit: float | None = 0.0) -> dict[str, object]:
        return {"name": name, "metric": metric, "verdict": "pass", "limit": limit, "required": True, "n": 3}

    unlimited = [gate("agreement"), gate("latency", "speedup"), gate("size", "MB", None), gate("integer", "int8_share")]
    asked = [gate("agreement", limit=0.9), gate("accuracy"), gate("compatibility"), gate("integer", "int8_share", 0.5)]
    assert [words.outcome(g) for g in (*unlimited, *asked)] == ["no limit"] * 4 + ["pass"] * 4
    assert [words.limit(g) for g in unlimited] == [words.DASH] * 4
    assert words.outcome({**gate("agreement"), "verdict": "fail"}) == "fail"
    text = words.sentence({"verdict": "pass", "gates": [*unlimited, *asked]})
    assert "All 4 required gates passed. No limit is set: agreement, latency, size, integer." in text
