"""Detections in a long recording: label tracks, detection rate and false alarms."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeft.core.errors import DataError
from edgeft.metrics import events

pytestmark = pytest.mark.board


def test_a_label_track_of_audacity(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("﻿2.0\t2.5\tstop\n\\\t100\t200\n\n0.5\t0.5\tgo now\n", encoding="utf-8")
    assert events.read(path) == [events.Event(0.5, 0.5, "go now"), events.Event(2.0, 2.5, "stop")]


@pytest.mark.parametrize(
    "line", ["1\t2", "1 2 go", "2\t1\tgo", "-1\t1\tgo", "a\tb\tgo", "nan\t1\tgo", "1\tinf\tgo", "1\t2\t "]
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(f"0\t1\tgo\n{line}\n")
    with pytest.raises(DataError, match="no line of a label track") as caught:
        events.read(path)
    assert caught.value.where == f"{path}:2"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xfa")
    for name, message in (("bytes.txt", "UTF-8"), ("absent.txt", "cannot be read")):
        with pytest.raises(DataError, match=message):
            events.read(tmp_path / name)


def judged(*detections: tuple[float, str]) -> tuple[int, int, int]:
    truth = [events.Event(1.0, 1.4, "go"), events.Event(3.0, 3.4, "go"), events.Event(5.0, 5.4, "cat")]
    rows = events.judge([{"seconds": s, "label": label} for s, label in detections], truth, ("go", "stop"))
    assert set(rows) == {"go", "stop"}
    return tuple(sum(row[key] for row in rows.values()) for key in ("events", "detected", "false_alarms"))  # type: ignore[return-value]


def test_detections_are_judged_by_place_and_label() -> None:
    assert judged() == (2, 0, 0)
    assert judged((1.2, "go"), (3.9, "go")) == (2, 2, 0)
    assert judged((1.2, "stop"), (3.91, "go")) == (2, 0, 2), "another label, and too late"
    assert judged((0.49, "go")) == (2, 0, 1) and judged((0.5, "go")) == (2, 1, 0)
    assert judged((1.2, "go"), (1.3, "go")) == (2, 1, 1), "a word is detected once"
    assert judged((5.2, "go")) == (2, 0, 1), "a word that is no keyword"
