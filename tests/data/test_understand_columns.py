"""Tables as people have them: without a header, with more columns than are asked for, or named by the user."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeft import data, starting_recipe
from edgeft.config import recipe
from edgeft.core.errors import DataError
from edgeft.data.understand import understand


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _rows(path: Path, header: str, row: Callable[[int], str], count: int = 60) -> Path:
    return _written(path, "\n".join([header, *map(row, range(count))]) + "\n")


PASSENGERS = (
    "PassengerId,Survived,Pclass,Name,Sex,Age,Fare",
    lambda i: (
        f'{i + 1},{i % 2},{1 + i % 3},"Braund{i}, Mr. Owen Harris",'
        f"{('male', 'female')[i % 2]},{20 + i % 40},{7 + i / 3:.4f}"
    ),
)

WRITERS: dict[str, tuple[Callable[[Path], Path], str, str, dict[str, object]]] = {
    "artists": (
        lambda p: _rows(p / "p.csv", "user,artist,plays", lambda i: f"user_{i % 7},The Band {i % 9},{i}"),
        "ratings",
        "recommend",
        {},
    ),
    "baskets": (
        lambda p: _written(p / "b.jsonl", '{"CustomerID": 17850, "StockCode": "85123A", "Quantity": 6}\n'),
        "ratings",
        "recommend",
        {},
    ),
    "JSON lines with more than texts": (
        lambda p: _written(
            p / "r.jsonl",
            '{"id": 1, "meta": {"a": 1}, "tags": [], "body": "win cash", "is_spam": true, "x": null}\n' * 4
            + '{"id": 1, "meta": {}, "tags": [], "body": "see you later", "is_spam": false, "x": null}\n',
        ),
        "jsonl",
        "text-classify",
        {"text": ("body",), "label": "is_spam"},
    ),
    "texts without a header": (
        lambda p: _rows(
            p / "t.tsv", "billing\tmy card was charged twice", lambda i: f"{('billing', 'tech')[i % 2]}\tthe {i} of it"
        ),
        "csv",
        "text-classify",
        {"text": ("1",), "label": "0", "header": "no"},
    ),
    "numbers without a header": (
        lambda p: _rows(
            p / "iris.data", "5.1,3.5,setosa", lambda i: f"{5 + i % 7 / 10},{1 + i % 3},{['setosa', 'versi'][i % 2]}"
        ),
        "table",
        "tabular",
        {"label": "2", "header": "no"},
    ),
    "states called label": (
        lambda p: _rows(
            p / "d.csv",
            "at,rms,kurtosis,label",
            lambda i: f"2024-01-{1 + i % 9:02d},{i / 7:.3f},{i / 3:.3f},{'ok' if i % 6 else 'bad'}",
        ),
        "table-anomaly",
        "tabular-anomaly",
        {"normal": "ok"},
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_table_is_recognized_and_its_recipe_reads_it(kind: str, tmp_path: Path) -> None:
    write, format_name, task, keys = WRITERS[kind]
    path = write(tmp_path)
    text, understood = starting_recipe.for_data(path)
    assert (understood.data.format, understood.task, dict(understood.keys)) == (format_name, task, keys)
    loaded = recipe.load(_written(tmp_path / "recipe.toml", text))
    assert loaded.data.label == understood.data.label, "not that of the template"


def test_short_names_of_measurements_are_no_languages(tmp_path: Path) -> None:
    places = _rows(tmp_path / "p.csv", "id,lat,lon,price", lambda i: f"{i},{50 + i / 9:.4f},{8 + i / 7:.4f},{900 + i}")
    assert understand(places).task == "tabular-values"


def test_a_score_that_is_measured_is_no_class(tmp_path: Path) -> None:
    table = _rows(
        tmp_path / "sts.csv", "question1,question2,score", lambda i: f"who is it now {i},who may it be {i},{i / 13:.2f}"
    )
    with pytest.raises(DataError) as refused:
        understand(table)
    assert "--set data.label=NAME" in refused.value.remedy and "wav-folder" not in refused.value.remedy
    with pytest.raises(DataError, match="for the task embed") as refused:
        understand(table, task="embed")
    settings = re.findall(r"--set (\S+)=NAME", refused.value.remedy)
    assert settings == ["data.columns.query", "data.columns.passage"]
    chosen = [f"{key}=question{n}" for n, key in enumerate(settings, 1)]
    text, _ = starting_recipe.for_data(table, "embed", format_name="text-pairs", overrides=chosen)
    loaded = recipe.load(_written(tmp_path / "recipe.toml", text))
    assert loaded.data.columns == {"query": "question1", "passage": "question2"}
    assert data.open(loaded.data, "embed").split("test").targets.shape[1] == 2


def test_the_column_that_the_user_names_is_predicted(tmp_path: Path) -> None:
    table = _rows(tmp_path / "d.csv", *PASSENGERS)
    for label, format_name in (("Fare", "table-values"), ("Sex", "table"), ("Survived", "table")):
        understood = understand(table, label=label)
        assert (understood.data.format, understood.data.label) == (format_name, label)
        assert label not in understood.keys["ignore"]
    assert understand(table, "tabular-values", label="Pclass").data.format == "table-values", "numbers are values too"
    with pytest.raises(DataError) as refused:
        understand(table, label="Fares")
    assert "none called 'Fares'" in refused.value.remedy
