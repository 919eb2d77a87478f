"""JUnit: what a CI server counts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
import report_values as values

from edgeft.report import junit


def outcome(verdict: str, *, required: bool = True, strict: bool = False) -> str:
    report = {"target": "t", "gates": [values.gate("accuracy", verdict, required=required)]}
    (case,) = ET.fromstring(junit.render(report, strict=strict)).iter("testcase")
    return next((child.tag for child in case if child.tag != "system-out"), "passed")


@pytest.mark.parametrize(
    ("verdict", "required", "strict", "expected"),
    [
        ("pass", True, False, "passed"),
        ("fail", True, False, "failure"),
        ("fail", False, False, "skipped"),
        ("fail", False, True, "skipped"),
        ("inconclusive", True, False, "skipped"),
        ("inconclusive", True, True, "failure"),
        ("inconclusive", False, True, "skipped"),
        ("unverified", False, False, "skipped"),
        ("unverified", False, True, "failure"),
        ("advisory", False, True, "skipped"),
        ("no such verdict", True, False, "failure"),
    ],
)
def test_verdicts_become_outcomes(verdict: str, required: bool, strict: bool, expected: str) -> None:
    assert outcome(verdict, required=required, strict=strict) == expected


def test_counts_are_those_of_the_cases() -> None:
    failed = {**values.report(), "target": "rpi5", "gates": [values.gate("accuracy", "fail")]}
    root = ET.fromstring(junit.render([values.report(), failed]))
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("7", "1", "3")
    assert [suite.get("name") for suite in root] == ["edgeft.jetson-orin-nano", "edgeft.rpi5"]
    assert [suite.get("tests") for suite in root] == ["6", "1"]


def test_a_report_without_gates_fails() -> None:
    root = ET.fromstring(junit.render({"target": "t", "gates": []}))
    assert root.get("failures") == "1"


def test_hostile_strings_stay_text() -> None:
    source = junit.render(values.hostile()[0])
    assert "<script" not in source
    messages = [element.get("message") or "" for element in ET.fromstring(source).iter("skipped")]
    assert any("<script>alert(1)</script>" in message for message in messages)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"verdict": None, "p50_ms": 3.0, "samples": 64}, None),
        ({"verdict": None, "samples": 0}, "failure"),
        ({"verdict": "pass", "estimate_pct": 0.1, "p50_ms": 3.0}, None),
        ({"verdict": "fail", "estimate_pct": 9.0, "p50_ms": 3.0}, "failure"),
        ({"verdict": "inconclusive", "estimate_pct": 2.0, "p50_ms": 3.0}, "skipped"),
    ],
)
def test_a_bench_result_is_one_case(result: dict[str, object], expected: str | None) -> None:
    (case,) = ET.fromstring(junit.render(result)).iter("testcase")
    assert [child.tag for child in case if child.tag != "system-out"] == ([expected] if expected else [])
