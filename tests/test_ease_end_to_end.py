"""EASE end to end, as `edgeft init recommend` writes it: solved, tables of int8, three runtimes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from interactions_data import write_ratings
from shapes_run import failed, gate

import edgeft
from edgeft.api import read_recipe
from edgeft.config import starting_recipes
from edgeft.predict import predict

for _package in ("torch", "onnxruntime", "onnxscript", "openvino", "litert_torch"):
    pytest.importorskip(_package, reason=f"{_package} is not installed")

TARGETS = ("host", "host-openvino", "host-litert")
ALL = pytest.mark.parametrize("name", TARGETS)


@pytest.fixture(scope="module")
def ease(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, dict[str, Any]]]:
    """(the ratings, the run's summary, reports by target)."""
    root = tmp_path_factory.mktemp("ease")
    ratings = write_ratings(root / "ratings.csv")
    (root / "recipe.toml").write_text(starting_recipes.template("recommend"))
    settings = [f"data.path={ratings}", "gates.max_drop=0.05", f"export.targets={json.dumps(TARGETS)}"]
    recipe = read_recipe(root / "recipe.toml", settings)
    summary = edgeft.tune(recipe, root / "run")
    reports = edgeft.export(root / "run", TARGETS, root / "bundles")
    return ratings, summary, {report["target"]: report for report in reports}


def test_it_is_above_popularity_and_the_report_has_both_baselines(ease) -> None:
    _, summary, reports = ease
    assert summary["float"] > 0.8 > 0.4 > summary["chance"] and summary["steps"] == 0
    assert 0.5 < summary["baselines"]["item-kNN"] <= 1
    for report in reports.values():
        assert report["baselines"] == {"popularity": summary["chance"], **summary["baselines"]}
        page = (Path(report["path"]) / "report.html").read_text()
        assert "Simple methods on the same samples: item-kNN" in page


@ALL
def test_each_runtime_keeps_the_ranking_with_tables_of_int8(ease, name) -> None:
    report = ease[2][name]
    assert report["verdict"] == "pass", failed(report)
    assert gate(report, "accuracy")["quantized"] > 0.8
    assert gate(report, "integer", "int8_weights_share")["n"] == 2, "the tables of users and items"
    manifest = json.loads((Path(report["path"]) / "manifest.json").read_text())
    assert manifest["scheme"]["embeddings"] == "int8"


def runner(path: str, *inputs: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, f"{path}/run.py", *inputs], capture_output=True, text=True, timeout=300)


@ALL
def test_what_a_user_has_is_recommended_only_where_it_is_asked_for(ease, name) -> None:
    ratings, _, reports = ease
    path = reports[name]["path"]
    has = {line.split(",")[1] for line in ratings.read_text().splitlines() if line.startswith("u3,")}
    new, every, some = predict(path, ["u3", "u3:*", "u3:i3,i7"], top=80)
    assert len(new["top"]) == 80 - len(has) and not {row["item"] for row in new["top"]} & has
    assert len(every["top"]) == 80 and {row["item"] for row in some["top"]} == {"i3", "i7"}

    if name == "host":
        answer = runner(path, "u3", "u3:*", "u3:i3,i7")
        assert answer.returncode == 0, answer.stderr
        for line, result in zip(answer.stdout.splitlines(), (new, every, some)):
            shown = [part.split(" (")[0] for part in line.partition(": ")[2].split("; ")]
            assert shown == [row["label"] for row in result["top"][:5]]
        check, unknown = runner(path), runner(path, "nobody")
        assert check.returncode == 0 and "preprocessing: largest difference 0: ok" in check.stdout, check.stdout
        assert unknown.returncode == 3 and "knows no user 'nobody'" in unknown.stderr
