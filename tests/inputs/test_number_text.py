"""Numbers as people write them, in a table and for a bundle on a board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runners import load

from edgeft import data
from edgeft.config.recipe import Data
from edgeft.core.errors import BundleError
from edgeft.data.understand import understand
from edgeft.data_check import check_data
from edgeft.inputs import columns
from edgeft.inputs.number_text import notation, number

CASES = [
    (["20,10", "1000,5", "3"], "", [20.1, 1000.5, 3]),
    (["1,234", "56", "2,345,678"], "", [1234, 56, 2345678]),
    (["1,234", "5,678"], "", [1234, 5678]),
    (["1,234", "5,678"], ",", [1.234, 5.678]),
    (["0,125", "1,250"], "", [0.125, 1.25]),
    (["1.234,5", "12,25"], "", [1234.5, 12.25]),
    (["1,234.5", "12.25"], "", [1234.5, 12.25]),
    (["1.234.567", "2.000"], "", [1234567, 2000]),
    (["1 234,5", "12"], "", [1234.5, 12]),
    (["1\u00a0234", "5\u202f678"], "", None),
    (["1'234.50", "7"], "", [1234.5, 7]),
    (["€ 1.50", "€ 20.25"], "", [1.5, 20.25]),
    (["1,50 €", "-20,25 €"], "", [1.5, -20.25]),
    (["5 %", "7.5 %"], "", [5, 7.5]),
    (["12 kg", "7 kg"], "", [12, 7]),
    (["1e-3", "2.5E+2"], "", [1e-3, 250]),
    (["A12", "A13"], "", None),
    (["12 kg", "7 g"], "", None),
    (["1.2.3", "4.5.6"], "", None),
    (["2024-01-05", "2024-01-06"], "", None),
    (["12:30", "13:45"], "", None),
    (["0123 456", "0456 789"], "", None),
    (["1,23,4", "5"], "", None),
    (["red", "5"], "", None),
]


@pytest.mark.parametrize(("texts", "decimal", "values"), CASES)
def test_a_column_has_one_notation(texts: list[str], decimal: str, values: list[float] | None) -> None:
    written = notation(texts, decimal)
    if values is None:
        assert written is None
        return
    assert written is not None and [number(text, written) for text in texts] == pytest.approx(values)


@pytest.mark.parametrize(("texts", "decimal", "values"), [case for case in CASES if case[2]])
def test_a_board_reads_a_notation_to_the_same_bits(
    tmp_path: Path, texts: list[str], decimal: str, values: list[float]
) -> None:
    part = load(tmp_path, "columns", "tabular")
    table = columns.learned(["a"], [[text] for text in texts], (), decimal)
    spec: dict[str, Any] = columns.configure(None, {}, {"columns": table}, print)
    for text in [*texts, "3.5", ""]:  # a sensor may send a plain number
        raw = {"names": ["a"], "values": [text]}
        assert part.feeds(raw, spec)["x"].tobytes() == columns.preprocess(raw, spec)["x"].tobytes()
    scaled = columns.preprocess({"names": ["a"], "values": ["3.5"]}, spec)["x"][0, 0]
    assert scaled == pytest.approx((3.5 - np.mean(values)) / np.std(values), rel=1e-5)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("delimiter", [";", ","])
def test_a_table_with_decimal_commas_is_recognized_read_and_told(tmp_path: Path, encoding: str, delimiter: str) -> None:
    rows = [delimiter.join(("Temp", "Zustand", "Druck"))]
    for i in range(60):
        fields = [f"{20 + i / 10:.2f}".replace(".", ","), "gut" if i % 3 else "schlecht", f"{1 + i % 7}.0{i:02d},5"]
        rows.append(delimiter.join(f'"{text}"' if delimiter == "," else text for text in fields))
    path = tmp_path / "t.csv"
    path.write_bytes("\r\n".join(rows).encode(encoding))
    found = understand(path, "tabular", "table")
    spec = Data(format="table", path=str(path), label="Zustand")
    made = data.open(spec, "tabular")
    table = {column["name"]: column for column in made.facts["columns"]}
    assert {column["kind"] for column in table.values()} == {"number"} and found.task == "tabular"
    assert 20 < table["Temp"]["mean"] < 26 and 1000 < table["Druck"]["mean"] < 8000
    assert any("is read as the number 20" in note for note in made.notes)
    assert check_data(path, task="tabular", format="table", overrides=['data.label="Zustand"'], samples=0)["labels"]


def test_prices_with_thousands_are_targets(tmp_path: Path) -> None:
    rows = [f'{50 + i},{i % 9},"{(i + 1) * 1234:,}"' for i in range(60)]
    (tmp_path / "t.csv").write_text("area,rooms,price\n" + "\n".join(rows))
    found = understand(tmp_path / "t.csv")
    assert found.task == "tabular-values" and found.data.label == "price"
    made = data.open(found.data, found.task)
    assert made.split("train").targets.max() > 60_000
    assert "price: '1,234' is read as the number 1234; data.decimal states the mark" in made.notes


def test_the_numbers_of_rows_that_pandas_writes_are_no_input(tmp_path: Path) -> None:
    rows = [f'{i},"€ {i * 1.5:.2f}",{i % 50}%,{"A" if i % 2 else "B"}' for i in range(60)]
    (tmp_path / "t.csv").write_text(",amount,rate,kind\n" + "\n".join(rows), encoding="utf-8")
    found = understand(tmp_path / "t.csv")
    made = data.open(found.data, found.task)
    assert [column["name"] for column in made.facts["columns"]] == ["amount", "rate"]
    assert {column["kind"] for column in made.facts["columns"]} == {"number"}
    assert any("the first column has no name" in note for note in made.notes)


@pytest.mark.parametrize("written", [3, {}, {"decimal": ","}, {"decimal": 1, "thousands": "", "unit": ""}])
def test_a_notation_that_cannot_be_followed_is_named(written: Any) -> None:
    table = columns.learned(["a"], [["1"], ["2"]])
    spec = columns.configure(None, {}, {"columns": [{**table[0], "written": written}]}, print)
    with pytest.raises(BundleError, match="written of 'a'"):
        columns.check(spec)
