"""Vectors of texts: ranks, the loss, what is told of several inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft import tasks
from edgeft.core.errors import DataError

TASK = tasks.get("embed")


def outputs_of(vectors: Any) -> dict[str, np.ndarray]:
    return {"output": np.asarray(vectors, np.float32)}


@pytest.mark.board
def test_a_query_is_ranked_among_all_passages() -> None:
    # passages 0 to 2 on the axes; the queries of 0 and 1 lie near them, the one of 2 nearer to passage 0
    vectors = [[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0.8, 0.1], [0, 0, 1], [0.9, 0, 0.5]]
    targets = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]])
    assert TASK.statistics is not None and TASK.extra_metrics is not None
    assert TASK.statistics(outputs_of(vectors), targets).tolist() == [0, 1, 0, 1, 0, 2]
    assert TASK.score(outputs_of(vectors), targets) == pytest.approx(2 / 3) and TASK.chance(targets) == 1 / 3
    extra = TASK.extra_metrics(outputs_of(vectors), targets)
    assert extra["recall@5"] == 1.0 and extra["MRR@10"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert TASK.score(outputs_of(5 * np.array(vectors)), targets) == pytest.approx(2 / 3), "lengths do not count"
    assert TASK.score(outputs_of(np.ones((6, 3))), targets) == 0.0, "equal vectors find nothing"
    broken = np.array(vectors, float)
    broken[1] = np.nan
    assert TASK.statistics(outputs_of(broken), targets)[1] == 3
    assert np.isnan(TASK.metric_of(np.zeros(2, int)))  # type: ignore[misc]
    with pytest.raises(DataError, match="passage 2 of a query"):
        TASK.score(outputs_of(vectors[:3]), np.array([[0, 0], [0, 1], [2, 1]]))
    with pytest.raises(DataError, match="no queries"):
        TASK.score(outputs_of(vectors[:1]), np.array([[0, 0]]))


@pytest.mark.board
def test_vectors_are_alike_by_their_cosine() -> None:
    first = np.array([[1.0, 0.0], [0.0, 1.0]])
    angle = np.arccos(0.99)
    second = np.array([[np.cos(angle), np.sin(angle)], [np.sin(0.3), np.cos(0.3)]])
    assert TASK.alike(outputs_of(first), outputs_of(second)).tolist() == [True, False]
    assert not TASK.alike(outputs_of(first), outputs_of(np.full((2, 2), np.nan))).any()


@pytest.mark.board
def test_further_inputs_are_compared_with_the_first() -> None:
    assert TASK.relate is not None
    told = [TASK.tell(outputs_of(rows), raw, {}, ()) for rows, raw in (  # type: ignore[misc]
        ([[1, 0]], "query"),
        ([[0.6, 0.8]], "text"),
        ([[0, 1], [0.8, 0.6]], {"texts": np.array(["far", "near"])}),
    )]  # fmt: skip
    assert told[0] == {"label": "[1.000, 0.000] (2 numbers)", "embedding": [1.0, 0.0]}
    TASK.relate(told)
    assert "similarity" not in told[0] and told[1]["similarity"] == pytest.approx(0.6)
    assert [(row["line"], row["text"]) for row in told[2]["passages"]] == [(2, "near"), (1, "far")]
    assert told[2]["label"] == "0.800 line 2: near; 0.000 line 1: far"
    json.dumps(told)
    several = [{"label": "x", "passages": []}, {"label": "y", "embedding": [1.0]}]
    TASK.relate(several)
    assert several[1] == {"label": "y", "embedding": [1.0]}, "a file of several lines is no query"


def test_a_file_holds_a_text_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\n two \n")
    assert TASK.read("some words", {}) == "some words"
    assert TASK.read(str(tmp_path / "a.txt"), {})["texts"].tolist() == ["one", "two"]
    (tmp_path / "a.txt").write_text("only one\n")
    assert TASK.read(str(tmp_path / "a.txt"), {}) == "only one"
    with pytest.raises(DataError, match="holds no texts"):
        TASK.preprocess({"texts": []}, {})
    with pytest.raises(DataError, match="expected a text"):
        TASK.preprocess(3, {})


def test_the_loss_ranks_the_passages_of_a_batch() -> None:
    torch = pytest.importorskip("torch")
    from edgeft.tasks.embed import learning

    queries = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    right, wrong = torch.cat([queries, queries]), torch.cat([queries, queries.flip(0)])
    numbers = torch.arange(4)
    assert learning.loss(right, numbers) < 0.01 < 1 < learning.loss(wrong, numbers)
    scores = 20 * queries @ queries.flip(0).T
    assert float(learning.loss(wrong, numbers)) == pytest.approx(
        float(-scores.log_softmax(1).diagonal().mean()), rel=1e-5
    )
    same = torch.cat([queries, queries[:1].expand(4, 8)])
    assert float(learning.loss(same, torch.zeros(4, dtype=torch.int64))) == pytest.approx(0, abs=1e-6), "no negatives"
    assert float(learning.distill(right, right, numbers, weight=1.0)) == 0
    assert float(learning.distill(right, wrong, None)) > 1
