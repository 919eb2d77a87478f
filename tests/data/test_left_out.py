"""Samples that cannot be used, whatever the format: up to 5 % are left out and named, more stop the run."""

from __future__ import annotations

from typing import Any

import pytest

from edgeft.core.errors import DataError
from edgeft.data import left_out


def judged(problems: list[str], used: int, **options: Any) -> list[str]:
    notes: list[str] = []
    left_out.judge(problems, used, "lines", notes, where="a.csv", remedy="correct the file", **options)
    return notes


def test_a_few_are_noted_by_their_places() -> None:
    assert judged([], 10) == []
    assert judged(["a.csv:3: no label"], 19) == ["1 of 20 lines cannot be used: a.csv:3: no label; they are left out"]
    (note,) = judged([f"a.csv:{i}: no" for i in range(7)], 993, part="train")
    assert note.startswith("train: 7 of 1000 lines cannot be used: a.csv:0: no; a.csv:1: no; ")
    assert note.endswith("a.csv:4: no; and 2 more; they are left out")
    (note,) = judged(["a.csv:3: no label"], 97, count=3)
    assert note == "3 of 100 lines cannot be used, the first: a.csv:3: no label; they are left out"


@pytest.mark.parametrize(("used", "count"), [(18, 1), (0, 1), (94, 5 + 1)])
def test_more_than_5_percent_stop_the_run(used: int, count: int) -> None:
    with pytest.raises(DataError, match=f"{count} of {used + count} lines cannot be used") as caught:
        judged(["a.csv:1: x"], used, count=count)
    assert caught.value.where == "a.csv"
    assert caught.value.remedy == "correct the file; up to 5% are left out with a warning"


def test_nothing_at_all_is_no_data() -> None:
    with pytest.raises(DataError, match="test: holds no lines"):
        left_out.judge([], 0, "lines", [], where="a.csv", remedy="correct the file", part="test")
