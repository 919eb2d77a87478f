"""Tables of numbers and categories: what is read, divided, told and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def opened(path: Path, form: str = "table", label: str = "kind", **options: Any) -> data.Dataset:
    return data.open(Data(format=form, path=str(path), label=label, options=options))


def rows(count: int = 40) -> str:
    lines = ["id;size;colour;kind"]
    lines += [f"r{i};{i % 7},0;{'red' if i % 3 else 'blue'};{'b' if i % 2 else 'a'}" for i in range(count)]
    return "\n".join(lines).replace(",0", ".0") + "\n"


def test_a_table_is_divided_by_class_and_its_columns_are_learned_from_train(tmp_path: Path) -> None:
    dataset = opened(write(tmp_path / "t.csv", rows()), ignore=("id",))
    assert dataset.labels == ("a", "b") and {n: len(s) for n, s in dataset.splits.items()} == {
        "train": 29,  # equal rows stay together
        "val": 6,
        "test": 5,
    }
    size, colour = dataset.facts["columns"]
    train = dataset.split("train")
    assert size["mean"] == pytest.approx(np.mean([float(train.raw(i)["values"][0]) for i in range(29)]))
    assert colour["values"] == ["blue", "red"] and dataset.facts["inputs"] == 3
    assert any("separated by ';'" in note for note in dataset.notes)
    assert train.source(0).startswith(str(tmp_path / "t.csv:"))


def test_files_of_splits_and_gaps_that_are_told(tmp_path: Path) -> None:
    for name, count in (("train", 30), ("val", 6), ("test", 6)):
        text = rows(count).replace(";0.0;", ";;")
        write(tmp_path / "folder" / f"machines_{name}.csv", text)
    dataset = opened(tmp_path / "folder")
    assert len(dataset.split("test")) == 6
    assert any("size: 5 of 30 training rows have no value" in note for note in dataset.notes)
    assert any("id: nearly every row has a value of its own" in note for note in dataset.notes)


def test_columns_that_say_nothing_are_told(tmp_path: Path) -> None:
    lines = ["size,empty,country,day,kind"]
    lines += [f"{i % 7},{'NA' if i % 2 else ''},US,2024-01-{1 + i % 9:02d},{'ab'[i % 2]}" for i in range(40)]
    dataset = opened(write(tmp_path / "t.csv", "\n".join(lines)))
    assert [column["name"] for column in dataset.facts["columns"]] == ["size", "country"]
    notes = "\n".join(dataset.notes)
    assert "no input: 'empty'" in notes and "country: is 'US' in every training row" in notes
    assert "day: dates such as '2024-01-0" in notes and "are no input" in notes and "size:" not in notes


def test_dates_are_places_on_cycles_and_their_order_is_told(tmp_path: Path) -> None:
    lines = [
        "size,when,kind",
        *(f"{i % 7}.{i},{1 + i % 9}/{1 + i % 8}/2024 {i % 24}:00,{'ab'[i % 2]}" for i in range(72)),
    ]
    dataset = opened(write(tmp_path / "t.csv", "\n".join(lines)))
    _, when = dataset.facts["columns"]
    assert when == {
        "name": "when",
        "kind": "moment",
        "order": "month-first",
        "cycles": ["day", "week"],
        "missing": False,
    }
    assert dataset.facts["inputs"] == 1 + 4
    assert any("when: of '" in note and "data.dates states another order" in note for note in dataset.notes)
    stated = opened(tmp_path / "t.csv", dates="day-first")
    assert stated.facts["columns"][1]["order"] == "day-first"
    assert not any("another order" in note for note in stated.notes)
    write(tmp_path / "t.csv", "when,kind\n" + "".join(f"2024-01-01,{'ab'[i % 2]}\n" for i in range(40)))
    with pytest.raises(DataError, match="no column of numbers or categories beside the target"):
        opened(tmp_path / "t.csv")


def test_numbers_to_predict(tmp_path: Path) -> None:
    dataset = opened(write(tmp_path / "t.csv", rows()), "table-values", "size", ignore=("id",))
    assert dataset.labels == ("size",) and dataset.split("train").targets.shape == (26, 1)
    with pytest.raises(DataError, match="'a' in the column 'kind' is no finite number") as caught:
        opened(write(tmp_path / "t.csv", rows()), "table-values", "kind")
    assert caught.value.where == f"{tmp_path / 't.csv'}:2"


def test_training_sees_normal_rows_alone(tmp_path: Path) -> None:
    text = rows().replace(";b\n", ";broken\n", 8).replace(";b\n", ";a\n")
    dataset = opened(write(tmp_path / "t.csv", text), "table-anomaly", normal="a")
    assert dataset.labels == ("normal", "anomaly")
    counts = {name: int(split.targets.sum()) for name, split in dataset.splits.items()}
    assert counts == {"train": 0, "val": 4, "test": 4} and sum(map(len, dataset.splits.values())) == 40
    with pytest.raises(DataError, match=r"data\.normal"):
        opened(tmp_path / "t.csv", "table-anomaly")
    with pytest.raises(DataError, match="no anomaly"):
        opened(write(tmp_path / "t.csv", rows().replace(";b\n", ";a\n")), "table-anomaly", normal="a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size,kind\n" + "1,a\n2,b,c\n" * 5, "rows cannot be used"),
        ("size,kind\n" + "1,\n" * 5, "rows cannot be used"),
        ("size,size,kind\n1,2,a\n", "name every column"),
        ("size,colour\n1,red\n", "no column 'kind'"),
        ("kind\na\nb\n", "no column beside the target"),
        ("size,kind\n" + ",a\n,b\n" * 9, "no value in any training row"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(write(tmp_path / "t.csv", text))


@pytest.mark.parametrize("first", ["NA", "9" * 400, ""])
def test_the_example_of_a_notation_is_a_number(tmp_path: Path, first: str) -> None:
    values = [first, *(f"{i},5" for i in range(39))]
    rows = "".join(f"{value};{'ab'[i % 2]}\n" for i, value in enumerate(values))
    (tmp_path / "t.csv").write_text("x;label\n" + rows)
    dataset = data.open(Data(format="table", path=str(tmp_path / "t.csv")), "tabular")
    assert not any("9999" in note and "is read as the number" in note for note in dataset.notes)
