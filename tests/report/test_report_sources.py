"""Real bundles and run directories become a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import report_values as values
import tiny_bundle

from edgeft.bundle import reader as bundle
from edgeft.core.errors import BundleError, RunError
from edgeft.report import sources, write


@pytest.fixture(params=tiny_bundle.BACKENDS)
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = Path(tiny_bundle.build(tmp_path, request.param))
    (path / "report.json").write_text(json.dumps({**values.report(), "target": "tiny"}))
    return path


def run_folder(path: Path) -> Path:
    path.mkdir()
    (path / "summary.json").write_text(json.dumps(values.summary()))
    (path / "recipe.toml").write_text('name = "the recipe"\n')
    lines = [json.dumps(row) for row in values.history()]
    (path / "metrics.jsonl").write_text("\n".join([*lines, "[1]", '{"stage": "qat", "lo']))
    return path


def test_samples_carry_both_decisions(built: Path) -> None:
    opened = bundle.open(built)
    found = sources.samples(opened, {})
    assert len(found) == len([key for key in opened.samples() if key.startswith("raw_")]) > 0
    for sample in found:
        assert sample["label"] in tiny_bundle.LABELS
        assert sample["float"] == sample["quantized"] == sample["label"]
        assert sample["image"].ndim in (2, 3)


def test_recorded_float_decisions_are_taken_as_they_are(built: Path) -> None:
    opened = bundle.open(built)
    count = len(sources.samples(opened, {}))
    recorded = {"details": {"samples": [{"float": "as recorded"}] * count}}
    assert {sample["float"] for sample in sources.samples(opened, recorded)} == {"as recorded"}


def test_bundles_and_runs_on_one_page(built: Path, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    write([built, run], tmp_path / "page.html")
    source = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "on tiny" in source
    assert "the recipe" in source
    assert source.count("<img") >= 1
    write([run], tmp_path / "run.html")
    assert "not yet exported" in (tmp_path / "run.html").read_text(encoding="utf-8")


def test_a_torn_line_of_the_history_is_left_out(tmp_path: Path) -> None:
    assert sources.history(run_folder(tmp_path / "run") / "metrics.jsonl") == values.history()
    assert sources.history(tmp_path / "absent.jsonl") == []


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="neither a bundle"):
        write([tmp_path], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_an_error_has_the_full_path_once(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder") as absent:
        sources.read(tmp_path / "absent")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "summary.json").write_bytes(b"\xff")
    with pytest.raises(RunError, match="cannot be read") as damaged:
        sources.read(tmp_path / "damaged")
    assert [str(error.value).count(str(tmp_path)) for error in (absent, damaged)] == [1, 1]


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_damaged_summary_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunError):
        sources.read(tmp_path)


def test_a_bundle_without_its_report_is_refused(built: Path) -> None:
    (built / "report.json").unlink()
    with pytest.raises(BundleError, match=r"report\.json"):
        sources.read(built)
