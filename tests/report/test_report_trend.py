from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeft.cli.entry import run as main
from edgeft.core.errors import RunError
from edgeft.measure import store
from edgeft.report import html, searched, sources, trend


def line(**changes: Any) -> dict[str, Any]:
    names = {"key": "k-1", "name": "keywords", "target": "rpi5", "backend": "litert", "host": "abc"}
    figures = {"estimate_pct": 0.4, "ci99_pct": [-0.2, 1.0], "tolerance_pct": 2.0, "p50_ms": 1.2, "float_p50_ms": 2.6}
    return {**names, "verdict": "pass", "artifact": "f" * 64, **figures, **changes}


def test_every_comparison_is_on_the_page(tmp_path: Path):
    store.remember(tmp_path, line())
    store.remember(
        tmp_path, line(verdict="fail", estimate_pct=7.25, ci99_pct=[6.5, 8.0], artifact="abad1dea" + "0" * 56)
    )
    store.remember(tmp_path, line(key="other", name="<b>faces</b>", verdict="inconclusive", ci99_pct=None, p50_ms=None))
    text = html.document([sources.read(tmp_path)])
    for told in (
        "keywords on rpi5",
        "+7.25 %",
        "[+6.5, +8.0]",
        "abad1dea",
        "1.2 ms",
        "2.6 ms",
        "&lt;b&gt;faces&lt;/b&gt;",
    ):
        assert told in text, told
    assert "<b>faces" not in text
    assert text.count("<svg") == 1  # one comparison alone is no trend


def test_two_kinds_of_machine_are_kept_apart(tmp_path: Path):
    for host in ("abc", "abc", "def"):
        store.remember(tmp_path, line(host=host))
    text = html.document([trend.part(tmp_path)])
    assert "machine abc" in text and "machine def" in text


def test_what_others_wrote_into_the_history_breaks_nothing(tmp_path: Path):
    strange = [
        {},
        {"estimate_pct": "fast", "ci99_pct": [1]},
        {"verdict": 3, "at": None, "estimate_pct": float(10**300)},
    ]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in strange) + '{"cut": ')
    assert "Latency over time" in html.document([sources.read(tmp_path)])


def test_an_empty_store_is_no_page(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "accepted").mkdir()
    with pytest.raises(RunError, match="no comparison yet"):
        trend.part(tmp_path)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 3
    assert "no comparison yet" in capfd.readouterr().err and not (tmp_path / "page.html").exists()


def test_the_card_of_a_search_says_what_was_tried():
    tried = [
        {"change": {"threads": 2, "session.intra_op.allow_spinning": "1"}, "verdict": "kept", "why": "1.886x as fast"},
        {"change": {"x": True}, "verdict": "refused", "why": "the outputs <are> others"},
    ]
    found = {
        "tried": tried,
        "final": {"speedup": 1.75},
        "margin_pct": 1.0,
        "device": "host",
        "at": "2026-11-28T00:00:00Z",
    }
    card = searched.card({"search": found})
    assert card is not None
    told = " ".join(card.itertext())
    for words in (
        "threads = 2, session.intra_op.allow_spinning = 1",
        "kept",
        "1.886x",
        "refused",
        "1.75x as fast",
        "1.0 %",
    ):
        assert words in told, words
    assert searched.card({"name": "onnxruntime"}) is None and searched.card({"search": {"tried": "no"}}) is None
