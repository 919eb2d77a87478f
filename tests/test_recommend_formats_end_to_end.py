"""A recommender with narrow weights and float activations: w8 and w4, whose rows are long enough for groups of 32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from end_to_end import Made, alterations_are_caught, exported_in, need, tuned
from interactions_data import write_ratings
from shapes_run import gate

need()


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A `neumf` that learned users of four kinds in float."""
    folder = tmp_path_factory.mktemp("ranker")
    table: dict[str, Any] = {
        "task": "recommend",
        "name": "blocks",
        "model": {"name": "neumf", "args": {"factors": 32, "hidden": [64, 32]}},
        "data": {"format": "ratings", "path": str(write_ratings(folder / "ratings.csv"))},
        "train": {"epochs": 8, "lr": 2e-2, "batch_size": 4},
        "quantize": {"method": "ptq", "calibration": "minmax"},
        "export": {"targets": ["host"]},
        "gates": {"max_drop": 0.05, "min_speedup": 0.0},
    }
    return tuned(folder, table, ("host",))


@pytest.mark.parametrize(("number_format", "targets"), [("w8", ("host", "host-litert")), ("w4", ("host",))])
def test_the_ranking_is_kept(ranker: Made, tmp_path: Path, number_format: str, targets: tuple[str, ...]) -> None:
    for report in exported_in(number_format, ranker.folder / "run", targets, tmp_path / "out"):
        stored, accuracy = gate(report, "integer", "int8_weights_share"), gate(report, "accuracy")
        assert stored["verdict"] == "pass" and stored["n"] == 3, "two hidden layers and the head: tables stay float"
        assert report["int8_share"] is None and accuracy["n"] == 60
        assert accuracy["quantized"] > 0.8 and abs(accuracy["drop"]) <= 2 / 60
        assert report["size"]["quantized_bytes"] < report["size"]["float_bytes"]
        alterations_are_caught(report, tmp_path / report["target"])
