"""Real ratings (MovieLens latest-small): the recipe of examples/recommend as it stands, through every runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
import real_data

from edgeft.config import recipe as recipes
from edgeft.predict import predict

TARGETS = ["host", "host-openvino", "host-litert"]


@pytest.mark.slow
def test_the_next_film_of_671_users_in_every_runtime(tmp_path: Path) -> None:
    root, recipe = real_data.folder("06_recommendation/ml-latest-small"), real_data.example("recommend/recipe.toml")
    import edgeft

    made = recipes.as_table(recipes.load(recipe))
    made["data"]["path"] = str(root)
    made["export"] = {"targets": TARGETS}
    summary = edgeft.tune(made, tmp_path / "run")
    # Chance is popularity. Three seeds of benchmarks/recommend.py reach 1.21 to 1.23 times it; CPUs round differently
    assert summary["n"] == 671 and summary["float"] >= 1.17 * summary["chance"], summary
    for report in edgeft.export(tmp_path / "run", TARGETS, tmp_path / "bundles"):
        assert report["verdict"] == "pass", [g["why"] for g in report["gates"] if g["verdict"] == "fail"]
        accuracy = next(g for g in report["gates"] if g["name"] == "accuracy")
        assert accuracy["drop"] <= 0.005, accuracy
    (seen,) = predict(tmp_path / "bundles" / "host", ["1"])
    assert seen["label"]
