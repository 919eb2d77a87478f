"""Delimited text: quotation marks in .tsv are text, and no line of any table goes without being counted or named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import sounds

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.delimited import Dialect, Lines, parted, records

#: positions of the lines that open a quotation mark and do not close it
UNCLOSED = (3, 30)


def mark(i: int) -> str:
    return '"' if i in UNCLOSED else ""


def total(made: data.Dataset) -> int:
    return sum(len(made.split(name)) for name in made.splits)


def pairs(path: Path, delimiter: str = "\t") -> Data:
    lines = [f"{mark(i)}sentence number {i}{delimiter}Satz Nummer {i}" for i in range(60)]
    path.write_text("\n".join([f"en{delimiter}de", *lines, ""]))
    return Data(format="pairs", path=str(path))


def texts(path: Path, delimiter: str = "\t") -> Data:
    lines = [f"{mark(i)}review number {i}{delimiter}{('no', 'yes')[i % 2]}" for i in range(60)]
    path.write_text("\n".join([f"text{delimiter}label", *lines, ""]))
    return Data(format="csv", path=str(path))


def speech(path: Path, delimiter: str = "\t") -> Data:
    names = [
        sounds.write(path.parent / f"{i:03}.wav", sounds.clip("tone", np.random.default_rng(i))).name for i in range(60)
    ]
    lines = [f"{name}{delimiter}{mark(i)}turn left" for i, name in enumerate(names)]
    path.write_text("\n".join([f"file{delimiter}text", *lines, ""]))
    return Data(format="wav-folder", path=str(path.parent), units="words")


@pytest.mark.parametrize("write", [pairs, texts, speech])
def test_an_unclosed_quotation_mark_in_a_tab_separated_file_is_text(tmp_path: Path, write: object) -> None:
    spec = write(tmp_path / "metadata.tsv")  # type: ignore[operator]
    made = data.open(spec)
    assert total(made) == 60
    assert not any("left out" in note or "skipped" in note for note in made.notes)


@pytest.mark.parametrize("write", [pairs, texts, speech])
def test_the_lines_that_an_unclosed_quotation_mark_takes_are_counted(tmp_path: Path, write: object) -> None:
    """From the second mark on everything is inside of quotation marks: no use is made of it without a word."""
    spec = write(tmp_path / "metadata.csv", ",")  # type: ignore[operator]
    with pytest.raises(DataError, match=r"\d\d of \d\d .* cannot be used") as caught:
        data.open(spec)
    counts = re.search(r"(\d+) of (\d+) ", caught.value.message)
    assert counts and int(counts[1]) >= 28 and int(counts[2]) == 60, caught.value.message
    assert "metadata.csv:5: " in caught.value.message and "one record from line 5 to line 32" in caught.value.message


def test_a_recipe_says_that_a_tab_separated_file_has_quoting(tmp_path: Path) -> None:
    lines = [f'"review ""number"" {i}\nand more"\t{("no", "yes")[i % 2]}' for i in range(30)]
    (tmp_path / "d.tsv").write_text("\n".join(["text\tlabel", *lines, ""]))
    made = data.open(Data(format="csv", path=str(tmp_path / "d.tsv"), quoting="csv"))
    assert total(made) == 30 and made.split("train").raw(0).startswith('review "number" ')
    with pytest.raises(DataError, match="30 of 60 lines cannot be used"):
        data.open(Data(format="csv", path=str(tmp_path / "d.tsv")))


def test_a_recipe_says_that_a_comma_separated_file_has_none(tmp_path: Path) -> None:
    spec = texts(tmp_path / "d.csv", ",")
    made = data.open(Data(format="csv", path=spec.path, quoting="none"))
    assert total(made) == 60


def test_fields_in_quotation_marks_of_a_file_without_quoting_are_told(tmp_path: Path) -> None:
    lines = [f'"review number {i}"\t{("no", "yes")[i % 2]}' for i in range(30)]
    (tmp_path / "d.tsv").write_text("\n".join(["text\tlabel", *lines, ""]))
    made = data.open(Data(format="csv", path=str(tmp_path / "d.tsv")))
    (note,) = [note for note in made.notes if "quotation marks" in note]
    assert "d.tsv:2: 30 line(s)" in note and 'data.quoting = "csv"' in note
    (tmp_path / "d.tsv").write_text("\n".join(['"text"\t"label"', *lines, ""]))
    with pytest.raises(DataError, match="no column 'text'") as caught:
        data.open(Data(format="csv", path=str(tmp_path / "d.tsv")))
    assert 'data.quoting = "csv"' in caught.value.remedy


def test_records_inside_of_one_quoted_field_are_told(tmp_path: Path) -> None:
    """A mark that is opened in one line and closed in a later one makes a record that is right by the letter."""
    spec = pairs(tmp_path / "p.csv", ",")
    lines = (tmp_path / "p.csv").read_text().replace('"', "").splitlines()
    lines[10], lines[12] = f'"{lines[10]}', 'sentence number 11,",Satz'
    (tmp_path / "p.csv").write_text("\n".join([*lines, ""]))
    made = data.open(spec)
    (note,) = [note for note in made.notes if "quotation marks" in note]
    assert "p.csv:11: lines 11 to 13 are one record" in note and total(made) == 58


def test_recordings_that_no_line_names_are_told_even_if_other_lines_are_wrong(tmp_path: Path) -> None:
    spec = speech(tmp_path / "metadata.tsv")
    lines = (tmp_path / "metadata.tsv").read_text().splitlines()
    del lines[40:50]
    lines[20] = lines[20].split("\t")[0]
    (tmp_path / "metadata.tsv").write_text("\n".join([*lines, ""]))
    made = data.open(spec)
    assert total(made) == 49
    (note,) = [note for note in made.notes if "recordings are left out" in note]
    assert "11 of 60 recordings" in note and "019.wav" in note


def test_ids_of_ratings_may_hold_quotation_marks_between_tabs(tmp_path: Path) -> None:
    lines = [f'{u}\t"item{(u + k) % 40}\t5\t{100 * u + k}' for u in range(30) for k in range(6)]
    (tmp_path / "ratings.tsv").write_text("\n".join(["user\titem\trating\ttime", *lines, ""]))
    made = data.open(Data(format="ratings", path=str(tmp_path)))
    assert any(note.startswith("180 interactions of 30 users") for note in made.notes)


def test_every_line_is_in_one_record(tmp_path: Path) -> None:
    content = b'a,b\r\n\r\n"x\ny",1\nplain,2\n"broken"q,3\n"open,4\nlast,5'
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with path.open("rb") as file:
        read = list(records(Lines(file), Dialect(",", True)))
    assert [(r.first, r.last) for r in read] == [(1, 1), (2, 2), (3, 4), (5, 5), (6, 6), (7, 8)]
    assert b"".join(content[r.start : r.end] for r in read) == content
    assert [bool(r.problem) for r in read] == [False, False, False, False, True, True]
    assert read[2].fields == ["x\ny", "1"] and read[1].fields == []
    assert parted("\t") == Dialect("\t", False) and parted(",") == Dialect(",", True) and not parted("::").quoted
