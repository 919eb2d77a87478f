"""The pull-request table: a row a target, and no string becomes markup."""

from __future__ import annotations

import re

import report_values as values

from edgeft.report import markdown


def rows(source: str) -> list[list[str]]:
    """The cells of each table row; a bar behind a backslash is text."""
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in source.splitlines() if line.startswith("|")]


def test_a_row_a_target_with_its_figures() -> None:
    failed = {**values.report(), "target": "rpi5", "verdict": "fail", "gates": [values.gate("accuracy", "fail")]}
    source = markdown.render([values.report(), failed], title="nightly")
    table = rows(source)
    assert {len(row) for row in table} == {7}
    assert table[2][0].strip() == "jetson-orin-nano"
    for text in (
        "pass",
        "97.14 % → 96.67 %",
        "+0.48 points [-0.48, 1.43]",
        "0.82× (advisory, host)",
        "44.7 MB → 11.3 MB",
    ):
        assert any(text in cell for cell in table[2]), text
    assert "fail" in table[3][1]


def test_unverified_is_said_before_failed() -> None:
    failed = {**values.report(), "target": "rpi5", "verdict": "fail", "gates": [values.gate("accuracy", "fail")]}
    source = markdown.render([failed, values.report()])
    assert source.index("**unverified**: why compatibility") < source.index("**fail**: why accuracy")


def test_hostile_strings_stay_in_their_cell() -> None:
    report = values.hostile()[0]
    source = markdown.render([{**report, "target": values.HOSTILE + "\n| x |"}], title=values.HOSTILE)
    assert {len(row) for row in rows(source)} == {7}
    assert "<script" not in source
    assert "@all" not in source
    assert "`" not in source.replace("\\`", "")


def test_nothing_measured_is_dashes() -> None:
    source = markdown.render({"target": "t", "verdict": "fail", "gates": []})
    assert rows(source)[2][2:] == [" accuracy – → – ", " – ", " – ", " – → – ", " – "]


def test_a_bench_result() -> None:
    source = markdown.render(
        {"verdict": "fail", "estimate_pct": 5.2, "ci99_pct": [4.1, 6.3], "samples": 9, "p50_ms": 3.1, "p99_ms": None}
    )
    assert "5.20 % slower" in source
    assert [cell.strip() for cell in rows(source)[0]] == ["p50"]
    alone = markdown.render({"verdict": None, "samples": 64, "p50_ms": 3.1, "target": "rpi5"})
    assert "Median 3.1 ms of 64 runs" in alone
    assert "rpi5" in alone
