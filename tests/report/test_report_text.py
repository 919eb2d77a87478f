"""A terminal's lines: aligned, complete, and free of anybody else's escape sequences."""

from __future__ import annotations

import re
from typing import Any

import pytest
import report_values as values

from edgeft import tasks
from edgeft.core.metric import Metric
from edgeft.report import html, markdown, text


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
        "All 2 required gates passed. Not verified here: compatibility. No limit is set: agreement.",
        "warning: a stray file",
        "bundle: bundles/x",
    ):
        assert part in whole, part
    assert "why accuracy" not in whole  # a gate that passed needs no reason


def test_few_samples_are_said_in_the_verdict() -> None:
    few = values.report()
    few["gates"][0] |= {"n": 4, "n_to_decide": 381}
    sentence = "accuracy was judged on 4 samples, where about 381 would decide"
    for shown in (text.render(few), text.reports([few]), html.render(few, {"name": "x"})):
        assert sentence in shown
    assert "why accuracy" in text.render(few) and "why accuracy" in markdown.render(few)
    assert "Few samples" not in text.render(values.report())


def test_columns_of_gates_are_aligned() -> None:
    lines = [line for line in text.gates(values.report()["gates"], "int8") if not line.startswith("    ")]
    head = lines[0]
    for line in lines[1:]:
        assert line[: head.index("gate")].strip() == line.partition("  ")[0]
        assert line[head.index("gate") - 1] == " "
        assert line[head.index("gate")] != " "
    verdicts = [line[: head.index("gate")].strip() for line in lines[1:]]
    assert verdicts == ["unverified", "pass", "no limit", "pass", "advisory", "advisory"]


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
        "11,177,000 of 11,177,000 parameters updated; 880 steps in 3 min 04 s, peak 734 MB",
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
    assert few.splitlines()[-1] == "Control rate: unknown, 64 calls are too few for a p99."
    lines = text.render({**values.report(), "rate": {"rate_hz": 250.0, "p99_ms": 4.0, "samples": 400, "where": "host"}})
    assert "(p99 4 ms of 400, on the host)" in lines


def control_summary(**more: Any) -> dict[str, Any]:
    """What `tune` of edgeft 0.1.0 wrote of a run on Pendulum-like data, without the record of its metric."""
    row = {"ptq": 0.3491, "quantized": 0.3479, "best_epoch": 2, "updated_parameters": 100}
    scores = {"float": 0.3468, "ptq": 0.3491, "quantized": 0.3479}
    named = {"task": "control", "metric": "mean absolute error", "schemes": {"affine": row}}
    return {**values.summary(), **named, **scores, "chance": 1.2, **more}


def test_a_larger_error_is_a_drop() -> None:
    for summary in (control_summary(), control_summary(metric_record=tasks.get("control").metric.as_dict())):
        lines = [" ".join(line.split()) for line in text.tuned(summary).splitlines()]
        assert "affine, calibrated (PTQ) 0.3491 drop +0.0023" in lines
        assert "affine, trained (QAT) 0.3479 drop +0.0011" in lines
        assert "drop +0.0011" in html.render_run(summary)


def test_a_word_error_rate_is_a_percentage_of_either_version() -> None:
    named = {"task": "speech", "metric": "word error rate", "chance": 1.0, "float": 0.123}
    schemes = {"affine": {"ptq": 0.135, "quantized": 0.13, "best_epoch": 1}}
    shown = text.tuned({**values.summary(), **named, "schemes": schemes})
    assert "12.30 %" in shown and "13.50 %  drop +1.20 points" in shown
    gate = values.gate("accuracy", "pass", metric="word error rate", float=0.123, quantized=0.135, drop=0.012)
    report = {**values.report(), "gates": [gate]}
    for page in (text.render(report), markdown.render(report), html.render(report, values.manifest())):
        assert "12.30 % → 13.50 %" in page.replace("\\", "") or ("12.30 %" in page and "13.50 %" in page)
        assert "+1.20 points" in page


def test_a_plug_in_tasks_metric_is_written_as_its_record_says() -> None:
    record = Metric("rise", "cm", higher_is_better=False).as_dict()
    gate = values.gate("accuracy", "pass", metric="rise", unit="cm", float=2.0, quantized=2.5, drop=0.5, limit=1.0)
    report = {**values.report(), "metric_record": record, "gates": [gate]}
    for page in (text.render(report), markdown.render(report), html.render(report, values.manifest())):
        assert "2 cm" in page and "2.5 cm" in page and "+0.5 cm" in page
    summary = {**values.summary(), "metric": "rise", "metric_record": record, "float": 2.0, "schemes": {}}
    assert "drop -1.033 cm" in text.tuned(summary)


def test_no_row_of_training_that_was_not_taken() -> None:
    why = "QAT did not improve on PTQ, so the PTQ model is used: none of 3 epochs was better on the validation split"
    row = {"ptq": 0.9571, "quantized": 0.9571, "best_epoch": 0}
    discarded = {**row, "method": "ptq", "updated_parameters": 9, "why": why}
    for summary, reason in (
        ({**values.summary(), "schemes": {"affine": {**row, "method": "ptq"}}}, ""),
        ({**values.summary(), "schemes": {"affine": row}}, ""),  # as 0.1.0 wrote it with quantize.method = "ptq"
        ({**values.summary(), "schemes": {"affine": discarded}}, why),
        (
            {**values.summary(), "schemes": {"affine": {**row, "updated_parameters": 9}}},
            "QAT did not improve on PTQ, so the PTQ model is used",
        ),
    ):
        for page in (text.tuned(summary), html.render_run(summary)):
            assert "calibrated (PTQ)" in page and "trained (QAT)" not in page
            assert (reason in page) if reason else ("PTQ kept" not in page)
