"""Queries and passages: tables and JSON lines, splits by passages, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeft import data
from edgeft.config import recipe
from edgeft.core.errors import DataError, RecipeError
from edgeft.data.understand import understand


def opened(path: Path, **keys: Any) -> data.Dataset:
    return data.open(recipe.Data(format="text-pairs", path=str(path), **keys), "embed")


def rows(dataset: data.Dataset, name: str) -> list[tuple[str, int, int]]:
    split = dataset.split(name)
    return [(split.raw(i), int(number), int(kind)) for i, (number, kind) in enumerate(split.targets)]


def test_passages_are_kept_once_and_queries_go_with_theirs(tmp_path: Path) -> None:
    lines = ["query,positive", *(f"question {i}.{k},answer {i}" for i in range(20) for k in range(3))]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    dataset = opened(tmp_path / "a.csv")
    seen: set[str] = set()
    for name in ("train", "val", "test"):
        table = rows(dataset, name)
        passages = {text: number for text, number, is_query in table if not is_query}
        assert len(table) == 4 * len(passages) and not seen & set(passages)
        seen |= set(passages)
        for text, number, is_query in table:
            assert not is_query or passages["answer " + text.split()[1].partition(".")[0]] == number
    assert len(seen) == 20 and dataset.labels == () and "divided" in " ".join(dataset.notes)
    assert opened(tmp_path / "a.csv", split_seed=1).split("test").targets[0, 0] != dataset.split("test").targets[0, 0]


def test_a_folder_of_json_lines_with_usual_names(tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        content = [{"anchor": f"{name} {i}", "positive": f"passage of {name} {i}"} for i in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    dataset = opened(tmp_path)
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [6, 6, 6]
    assert rows(dataset, "val")[:2] == [("dev 0", 3, 1), ("passage of dev 0", 3, 0)]
    assert dataset.split("val").source(0).endswith("dev.jsonl:1")
    assert understand(tmp_path).task == "embed"


def test_columns_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("id\tfrage\tantwort\n" + "".join(f"{i}\tq {i}\ta {i}\n" for i in range(9)))
    with pytest.raises(DataError, match="has no column 'query'") as caught:
        opened(tmp_path / "a.tsv")
    assert "id, frage, antwort" in (caught.value.remedy or "")
    dataset = opened(tmp_path / "a.tsv", columns={"query": "frage", "passage": "antwort"}, split=data.WHOLE)
    assert rows(dataset, "train")[:2] == [("q 0", 0, 1), ("a 0", 0, 0)]
    with pytest.raises(RecipeError, match="unknown key 'source'"):
        opened(tmp_path / "a.tsv", columns={"source": "frage"})


def test_what_cannot_be_searched_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("query,positive\n" + "".join(f"q {i},the same\n" for i in range(9)))
    with pytest.raises(DataError, match=r"nothing to search|too few"):
        opened(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("query,positive\nq,\nr,\n")
    with pytest.raises(DataError, match="2 of 2 pairs cannot be used"):
        opened(tmp_path / "b.csv")
    with pytest.raises(DataError, match="no such file"):
        opened(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="is no table"):
        (tmp_path / "c.txt").write_text("x")
        opened(tmp_path / "c.txt")
