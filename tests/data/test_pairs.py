"""Sentence pairs: two texts, .gz, tables, and what is wrong with them by file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError

ENGLISH = [f"sentence number {i}" for i in range(40)]
GERMAN = [f"Satz Nummer {i}" for i in range(40)]


def folder(root: Path, english: list[str] = ENGLISH, german: list[str] = GERMAN) -> Path:
    for split in ("train", "val", "test"):
        (root / f"{split}.en").write_text("".join(f"{line}\n" for line in english), encoding="utf-8")
        (root / f"{split}.de").write_text("".join(f"{line}\n" for line in german), encoding="utf-8")
    return root


def opened(path: Path) -> data.Dataset:
    return data.open(Data(format="pairs", path=str(path)))


def test_two_texts_a_split_plain_or_packed(tmp_path: Path) -> None:
    folder(tmp_path)
    packed = (tmp_path / "test.de").read_bytes()
    (tmp_path / "test.de").unlink()
    (tmp_path / "test_2016.de.gz").write_bytes(gzip.compress(packed))
    found = opened(tmp_path)
    assert [len(split) for split in found.splits.values()] == [40, 40, 40]
    train = found.split("train")
    assert (train.raw(3), train.targets[3]) == ("sentence number 3", "Satz Nummer 3")
    assert train.source(3).endswith("train.en:4") and found.split("test").targets[39] == "Satz Nummer 39"


def test_one_table_is_divided(tmp_path: Path) -> None:
    rows = "".join(f'{i},"{a}, yes",{b}\n' for i, (a, b) in enumerate(zip(ENGLISH, GERMAN)))
    (tmp_path / "all.csv").write_text("id,en,de\n" + rows)
    found = opened(tmp_path / "all.csv")
    assert sum(len(split) for split in found.splits.values()) == 40
    assert found.split("train").raw(0).endswith(", yes")


def test_a_few_bad_lines_are_left_out_and_named(tmp_path: Path) -> None:
    folder(tmp_path)
    lines = (tmp_path / "train.de").read_bytes().split(b"\n")
    lines[6] = b"kein \xff UTF-8"
    (tmp_path / "train.de").write_bytes(b"\n".join(lines))
    found = opened(tmp_path)
    assert len(found.split("train")) == 39
    assert any("1 of 40 pairs cannot be used" in note and "train.de:7" in note for note in found.notes)


@pytest.mark.parametrize("bad", ["", "   ", "word " * 900])
def test_many_bad_lines_stop_the_run(tmp_path: Path, bad: str) -> None:
    folder(tmp_path, [bad if i % 5 == 0 else line for i, line in enumerate(ENGLISH)])
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    assert "8 of 40 pairs cannot be used" in caught.value.message and "train.en:1" in caught.value.message


def test_texts_that_are_not_parallel(tmp_path: Path) -> None:
    folder(tmp_path, ENGLISH, GERMAN[:-1])
    with pytest.raises(DataError, match="not parallel") as caught:
        opened(tmp_path)
    assert caught.value.where.endswith("train.de:39")


def test_a_text_without_its_translation_a_wrong_column_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.en").write_text("one\n")
    with pytest.raises(DataError, match="no translation beside it"):
        opened(tmp_path)
    (tmp_path / "table.csv").write_text("en,dutch\none,een\n")
    with pytest.raises(DataError, match="no column 'de'") as caught:
        opened(tmp_path / "table.csv")
    assert caught.value.where.endswith("table.csv:1")
    with pytest.raises(DataError, match="no such file"):
        opened(tmp_path / "absent")
    (tmp_path / "train.de.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        opened(tmp_path)


def test_tables_with_tabs_and_json_lines(tmp_path: Path) -> None:
    rows = list(zip(ENGLISH, GERMAN))
    (tmp_path / "train.tsv").write_text("de\ten\n" + "".join(f"{b}\t{a}\n" for a, b in rows))
    lines = [json.dumps({"en": a, "de": b, "id": i}) for i, (a, b) in enumerate(rows)]
    lines[4] = '{"en": "no translation"}'
    (tmp_path / "val.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "test.csv").write_text("en,de\n" + "".join(f"{a},{b}\n" for a, b in rows) + "one field too few\n")
    found = opened(tmp_path)
    assert [len(split) for split in found.splits.values()] == [40, 39, 40]
    assert (found.split("train").raw(2), found.split("train").targets[2]) == (ENGLISH[2], GERMAN[2])
    told = " ".join(found.notes)
    assert "val.jsonl.gz:5: has no 'de'" in told and "test.csv:42: has 1 field where the header has 2" in told


def test_two_files_for_one_split_are_a_question(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "test_2017.en").write_text("one\n")
    with pytest.raises(DataError, match="which one is meant"):
        opened(tmp_path)
