"""Packed texts and rows give back what was put in, in few bytes, from memory and from files."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from edgeft.data.packed import Chosen, Fields, Texts, Writer

ROWS = [("1.5", "red", ""), ("", "", ""), ("é" * 40, "\x1f\x00", "\udc80"), ("a", "ÿþ", "c"), ("\ud800", "€", "x")]


def written(folder: Path | None, rows: list[tuple[str, ...]], parts: int = 2) -> Fields:
    """`rows` in memory, or in files of `folder`."""
    writer = Writer(folder)
    for start in range(0, len(rows), parts):
        writer.append(rows[start : start + parts])
    return writer.fields()


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("rows", [ROWS, ROWS[:2], ROWS[::-1]])
def test_rows_are_given_back(tmp_path: Path, in_files: bool, rows: list) -> None:
    fields = written(tmp_path if in_files else None, rows)
    assert list(fields) == rows and fields[-1] == rows[-1] and fields[1:3] == rows[1:3]
    assert [row for block in fields.columns() for row in zip(*block)] == rows
    with pytest.raises(IndexError):
        fields[len(rows)]


@pytest.mark.parametrize("in_files", [False, True])
def test_texts_are_given_back(tmp_path: Path, in_files: bool) -> None:
    texts = Texts(written(tmp_path if in_files else None, [row[:1] for row in ROWS]))
    assert list(texts) == [row[0] for row in ROWS] and texts.index("a") == 3
    assert [text for block in texts.blocks() for text in block] == [row[0] for row in ROWS]


def test_chosen_rows() -> None:
    rows = ROWS * 30
    near, far = np.array([3, 0, 2]), np.array([149, 0])
    for indices in (near, far, np.arange(150), np.zeros(0, np.int64)):
        chosen = Chosen(Fields.of(rows), indices)
        assert [row for block in chosen.columns() for row in zip(*block)] == [rows[i] for i in indices]


def test_a_row_takes_little_more_than_its_bytes() -> None:
    tracemalloc.start()
    fields = Fields.of([[str(number), "0.1234", "-0.5678", "green"] for number in range(20_000)])
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(fields) == 20_000 and size / 20_000 < 60, "28 bytes of text, 8 of the place, and what grows ahead"
