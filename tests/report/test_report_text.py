"""A terminal's lines: aligned, complete, and free of anybody else's escape sequences."""

from __future__ import annotations

import re

import pytest
import report_values as values

from edgeft.report import text


def test_a_report_for_people() -> None:
    lines = text.render({**values.report(), "path": "bundles/x", "warnings": ["a stray file"]}).splitlines()
    assert lines[0] == "jetson-orin-nano: pass"
    whole = "\n".join(lines)
    for part in (
        "97.14 % → 96.67 %",
        "drop +0.48 points [-0.48, 1.43]",
        "9.76 ms → 11.9 ms",
        "0.82× float, 99 % [0.80, 0.84]×, on host",
        "drop ≤ 1.00 points",
        "why compatibility",
        "All 3 deciding gates passed. Not verified here: compatibility. Advisory only: integer, latency.",
        "warning: a stray file",
        "bundle: bundles/x",
    ):
        assert part in whole, part
    assert "why accuracy" not in whole  # a gate that passed needs no reason


def test_columns_of_gates_are_aligned() -> None:
    lines = [line for line in text.gates(values.report()["gates"]) if not line.startswith("    ")]
    head = lines[0]
    for line in lines[1:]:
        assert line[: head.index("gate")].split() == [line.split()[0]]
        assert line[head.index("gate") - 1] == " "
        assert line[head.index("gate")] != " "
    assert [line.split()[0] for line in lines[1:]] == ["unverified", "pass", "pass", "pass", "advisory", "advisory"]


def test_wide_characters_take_two_places() -> None:
    lines = text.table(["a", "b"], [["细胞", "1"], ["abcd", "2"]])
    assert lines == ["a     b", "细胞  1", "abcd  2"]


@pytest.mark.parametrize("how", [values.unmeasured, values.unknown, values.wrong])
def test_nothing_measured(how: object) -> None:
    assert not {"nan", "None"} & set(text.render(values.spoil(values.report(), how)).split())
    assert "no gate measured anything" in text.render({})
    assert "–" in text.tuned(values.spoil(values.summary(), how))


def test_no_escape_sequence_of_a_bundle_reaches_the_terminal() -> None:
    report, _, summary, _ = values.hostile()
    for lines in (text.render(report), text.reports([report]), text.tuned(summary, folder=values.HOSTILE)):
        assert "\x1b" not in lines
        assert "\x00" not in lines


def test_colour_changes_only_the_verdicts() -> None:
    plain, painted = text.render(values.report()), text.render(values.report(), color=True)
    assert "\x1b[32mpass\x1b[0m" in painted
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == plain


def test_several_reports_are_a_table_and_the_sentences_that_matter() -> None:
    failed = {**values.report(), "target": "rpi5", "verdict": "fail", "gates": [values.gate("accuracy", "fail")]}
    clean = {**values.report(), "target": "nuc", "gates": values.report()["gates"][:3], "latency": {}}
    lines = text.reports([values.report(), failed, clean]).splitlines()
    assert [line.split()[1] for line in lines[1:4]] == ["jetson-orin-nano", "rpi5", "nuc"]
    assert "rpi5: Failed: accuracy." in lines
    assert not any(line.startswith("nuc:") for line in lines)


def test_a_run_for_people() -> None:
    lines = text.tuned(values.summary(), folder="runs/x")
    for part in (
        "accuracy of 210 samples (chance 33.33 %)",
        "affine, calibrated (PTQ)",
        "drop +1.43 points",
        "11,177,000 of 11,177,000 parameters learned; 880 steps in 3 min 04 s, peak 734 MB",
        "run: runs/x",
    ):
        assert part in lines, part


def test_a_bench_result_for_people() -> None:
    result = {"verdict": "pass", "estimate_pct": -1.5, "ci99_pct": [-2, -1], "tolerance_pct": 2, "samples": 400}
    lines = text.bench({**result, "clock": "cpu", "p50_ms": 3.1, "p95_ms": None, "throttled": True})
    assert lines.splitlines()[0] == (
        "pass: 1.50 % faster, 99 % interval [-2.00, -1.00] %, tolerance 2 % (400 samples, cpu clock, throttled)."
    )
    assert lines.splitlines()[1].split() == ["p50", "3.1", "ms"]


def test_a_control_rate_is_told_where_it_was_measured() -> None:
    found = {"verdict": "pass", "samples": 400, "p50_ms": 3.1, "p99_ms": 4.0}
    assert "Control rate" not in text.bench(found)
    told = "Control rate: 250 Hz is what 99 of 100 calls keep up with (p99 4 ms of 400)."
    assert text.bench({**found, "rate_hz": 250.0}).splitlines()[-1] == told
    few = text.bench({**found, "samples": 64, "p99_ms": None, "rate_hz": None})
    assert few.splitlines()[-1] == "Control rate: not told, 64 calls are too few for a p99."
    lines = text.render({**values.report(), "rate": {"rate_hz": 250.0, "p99_ms": 4.0, "samples": 400, "where": "host"}})
    assert "(p99 4 ms of 400, on the host)" in lines
