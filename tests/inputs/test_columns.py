"""Rows of tables: what columns mean, and the tensor that a row becomes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edgeft.core import runner
from edgeft.core.errors import BundleError, DataError
from edgeft.inputs import columns, run_columns

pytestmark = pytest.mark.board

NAMES = ("size", "code", "colour", "wear")
ROWS = (("1", "7", "red", "10"), ("3", "8", "blue", ""), ("5", "7", "red", "20"), ("7", "9", "", "30"))


def spec(categories: tuple[str, ...] = ()) -> dict[str, Any]:
    return columns.configure(None, {}, {"columns": columns.learned(NAMES, ROWS, categories)}, print)


def tensor(*values: str, **changed: Any) -> list[float]:
    return columns.preprocess(columns.row(NAMES, values), spec(**changed))["x"][0].tolist()


def test_numbers_are_standardized_categories_spread_and_gaps_marked() -> None:
    table = spec()
    assert [c["kind"] for c in table["columns"]] == ["number", "number", "category", "number"]
    assert table["size"] == [1 + 1 + 2 + 2]
    json.dumps(table, allow_nan=False)
    size, code, blue, red, wear, absent = tensor("4", "7.75", "blue", "20")
    assert (size, code, blue, red, wear, absent) == (0, 0, 1, 0, 0, 0)
    assert tensor("7", "9", "red", " NA ") == pytest.approx([3 / 5**0.5, 1.25 / np.std([7, 8, 7, 9]), 0, 1, 0, 1])


def test_what_training_never_showed() -> None:
    assert tensor("4", "7.75", "green", "20")[2:4] == [0, 0], "an unknown value is none of the known ones"
    assert tensor("", "7.75", "red", "20")[0] == 0, "a gap where training had none is the mean"
    assert tensor("4", "7", "red", "20", categories=("code",))[1:4] == [1, 0, 0]
    with pytest.raises(DataError, match="did you mean 'code'"):
        spec(categories=("cod",))


def test_columns_are_found_by_name_and_others_passed_over() -> None:
    raw = columns.row(("wear", "extra", "colour", "code", "size"), ("20", "?", "red", "7.75", "4"))
    assert columns.preprocess(raw, spec())["x"][0].tolist() == tensor("4", "7.75", "red", "20")


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        (NAMES, ("x", "7", "red", "1"), "'x' in the column 'size' is no finite number"),
        (NAMES, ("inf", "7", "red", "1"), "is no finite number"),
        (NAMES[1:], ("7", "red", "1"), "no column 'size'"),
        (NAMES, ("1", "7", "red"), "expected"),
    ],
)
def test_a_row_that_cannot_be_is_refused(names: tuple[str, ...], values: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        columns.preprocess({"names": np.array(names), "values": np.array(values)}, spec())


def test_rows_are_read_from_words_and_files(tmp_path: Any) -> None:
    expected = tensor("4", "8", "red", "20")
    path = tmp_path / "row.csv"
    path.write_text('\ufeffsize,code,colour,wear\n4,8,"red",20\n', encoding="utf-8")
    for text in ("size=4, colour=red, code=8, wear=20", "4, 8, red, 20", str(path)):
        assert columns.preprocess(columns.read(text, spec()), spec())["x"][0].tolist() == expected
    path.write_text("size,code\n1,2\n3,4\n")
    for text in (str(path), "4, 8", ""):
        with pytest.raises(DataError):
            columns.read(text, spec())


@pytest.mark.parametrize(("mark", "name"), [(",", "t.csv"), (";", "t.csv"), ("\t", "t.tsv")])
def test_a_table_of_several_rows_is_read_row_by_row_here_and_on_a_board(mark: str, name: str, tmp_path: Any) -> None:
    rows = [("id", "size", "code", "colour", "wear"), ("a", "4", "8", "red", "20"), ("b", "5", "7", "blue", "")]
    path = tmp_path / name
    path.write_text("\n".join(map(mark.join, rows)) + "\n")
    read, board = columns.rows(str(path), spec()), run_columns.several(str(path), spec())
    assert [where for where, _ in read] == [f"{path}:2", f"{path}:3"] == [where for where, _ in board]
    for (_, raw), (_, same), row in zip(read, board, rows[1:]):
        expected = columns.preprocess(columns.row(rows[0], row), spec())["x"].tolist()
        assert columns.preprocess(raw, spec())["x"].tolist() == expected
        assert run_columns.feeds(same, spec())["x"].tolist() == expected
    line = mark.join(("4", "8", "red", "20"))
    assert columns.preprocess(columns.read(line, spec()), spec())["x"][0].tolist() == tensor("4", "8", "red", "20")
    assert run_columns.feeds(run_columns.read(line, spec()), spec())["x"][0].tolist() == tensor("4", "8", "red", "20")
    assert columns.rows(line, spec()) == run_columns.several(line, spec()) == []
    path.write_text("\n".join([mark.join(rows[0]), mark.join(rows[1]), "a"]))
    with pytest.raises(DataError, match="has 1 fields where the header has 5"):
        columns.rows(str(path), spec())
    with pytest.raises(runner.Stop, match="has 1 fields where the header has 5"):
        run_columns.several(str(path), spec())


@pytest.mark.parametrize(
    "changed",
    [
        {"columns": []},
        {"columns": [{"name": "a", "kind": "date"}]},
        {"columns": [{"name": "a", "kind": "number", "mean": 0.0, "std": 0.0, "missing": False}]},
        {"columns": [{"name": "a", "kind": "number", "mean": float("nan"), "std": 1.0, "missing": False}]},
        {"columns": [{"name": "a", "kind": "number", "mean": 0.0, "std": 1.0}]},
        {"columns": [{"name": "a", "kind": "category", "values": [1]}]},
        {"size": [3]},
    ],
)
def test_a_manifest_that_cannot_be_followed_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BundleError):
        columns.preprocess(columns.row(NAMES, ROWS[0]), spec() | changed)
