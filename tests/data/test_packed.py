"""Packed texts and rows give back what was put in, in few bytes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from edgeft.data.packed import Chosen, Fields, Texts

ROWS = [("1.5", "red", ""), ("", "", ""), ("é" * 40, "\x1f\x00", "\udc80"), ("a", "b", "c")]


def test_rows_are_given_back() -> None:
    fields, texts = Fields(), Texts()
    for row in ROWS:
        fields.append(row)
        texts.append(row[0])
    assert list(fields) == ROWS and fields[-1] == ROWS[-1] and fields[1:3] == ROWS[1:3]
    assert list(texts) == [row[0] for row in ROWS] and texts.index("a") == 3
    with pytest.raises(IndexError):
        fields[4]


def test_chosen_rows_and_columns() -> None:
    fields = Fields()
    for row in ROWS:
        fields.append(row)
    chosen = Chosen(fields, np.array([3, 0]))
    assert list(chosen) == [ROWS[3], ROWS[0]]
    assert list(chosen.columns([2, 0])) == [["c", "a"], ["", "1.5"]]


def test_a_row_takes_little_more_than_its_bytes() -> None:
    tracemalloc.start()
    fields = Fields()
    for number in range(20_000):
        fields.append([str(number), "0.1234", "-0.5678", "green"])
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / 20_000 < 60, "28 bytes of text, 8 of the place, and what grows ahead"
