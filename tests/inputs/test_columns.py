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


DATES = [
    ("2024-03-04", "2024-03-04 18:00"),
    ("2024-03-05T06:30:15.25Z", "2024-03-05T06:30:15+01:00"),
    ("4.3.2024 06:00", "04.03.2024"),
    ("3/25/24 11:59 PM", "12/31/2023 12:00 am"),
    ("25/03/2024", "1/2/2024 00:00:60"),
    ("04-Mar-2024", "March 4, 2024 18:00"),
    ("06:30", "18:45:10"),
]


@pytest.mark.parametrize("values", DATES)
def test_dates_and_times_become_places_on_cycles_here_and_on_a_board(values: tuple[str, str]) -> None:
    times = ":" in values[0][:3]
    days = [f"2024-{month:02d}-{day:02d} {day % 24:02d}:30" for month in range(1, 13) for day in range(1, 29)]
    shown = [*values, *(day[11:] if times else day for day in days), ""]
    [column] = columns.learned(("when",), [(value,) for value in shown])
    assert column["kind"] == "moment" and column["missing"]
    column["cycles"] = ["day"] if times else ["day", "week", "year"]
    table = columns.configure(None, {}, {"columns": [column]}, print)
    for value in (*values, "", "2024-12-31", "1999-01-01 23:59:59"):
        row = columns.row(("when",), (value,))
        tensor = columns.preprocess(row, table)["x"]
        assert tensor.shape[1] == columns.width([column])
        np.testing.assert_array_equal(run_columns.feeds(row, table)["x"], tensor)

    for value in ("2024-02-30", "25:00", "13:00 PM", "noon", "1/2", "2024-3-4-5", "4 Foo 2024"):
        row = columns.row(("when",), (value,))
        with pytest.raises(DataError, match="is no date or time"):
            columns.preprocess(row, table)
        with pytest.raises(runner.Stop, match="is no date or time"):
            run_columns.feeds(row, table)


def test_a_date_has_its_place_in_day_week_and_year() -> None:
    column = {"name": "when", "kind": "moment", "order": "day-first", "cycles": ["day", "week", "year"]}
    table = columns.configure(None, {}, {"columns": [column | {"missing": False}]}, print)
    [monday] = columns.preprocess(columns.row(("when",), ("2024-01-01 06:00",)), table)["x"]
    assert monday.tolist() == pytest.approx([1, 0, 0, 1, 0, 1], abs=1e-6)
    [later] = columns.preprocess(columns.row(("when",), ("1/7/2024 18:00",)), table)["x"]  # the 182nd day after
    turn = 2 * np.pi * 182 / 366
    assert later.tolist() == pytest.approx([-1, 0, 0, 1, np.sin(turn), np.cos(turn)], abs=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        {"columns": []},
        {"columns": [{"name": "a", "kind": "moment", "order": "day-first", "cycles": [], "missing": False}]},
        {"columns": [{"name": "a", "kind": "moment", "order": "up", "cycles": ["day"], "missing": False}]},
        {"columns": [{"name": "a", "kind": "moment", "order": "day-first", "cycles": ["day"], "missing": 0}]},
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
