"""The two-tower model end to end: towers of a user and of items, tables in float, three runtimes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interactions_data import write_ratings
from shapes_run import failed, gate

import edgeft
from edgeft.cli.entry import run as command

for _package in ("torch", "onnxruntime", "onnxscript", "openvino", "litert_torch"):
    pytest.importorskip(_package, reason=f"{_package} is not installed")

pytestmark = pytest.mark.slow
TARGETS = ("host", "host-openvino", "host-litert")
ALL = pytest.mark.parametrize("name", TARGETS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """(the run's summary, reports by target)."""
    root = tmp_path_factory.mktemp("towers")
    table = {
        "task": "recommend",
        "name": "towers",
        "model": {"name": "two_tower", "args": {"factors": 8, "hidden": [8], "dropout": 0.1}},
        "data": {"format": "ratings", "path": str(write_ratings(root / "ratings.csv"))},
        "train": {"epochs": 20, "lr": 5e-2, "batch_size": 4},
        "quantize": {"method": "ptq", "calibration": "minmax"},
        "export": {"targets": list(TARGETS)},
        "gates": {"max_drop": 0.05, "min_speedup": 0.0},
    }
    summary = edgeft.tune(table, root / "run")
    reports = edgeft.export(root / "run", out=root / "bundles")
    return summary, {report["target"]: report for report in reports}


def test_it_learns_whose_items_are_whose(made) -> None:
    summary, _ = made
    assert summary["float"] > 0.8 > 0.4 > summary["chance"]


@ALL
def test_each_runtime_keeps_the_ranking(made, name) -> None:
    report = made[1][name]
    assert report["verdict"] == "pass", failed(report)
    assert gate(report, "accuracy")["quantized"] > 0.8
    assert gate(report, "integer", "int8_weights_share")["n"] == 2, "the last layer of each tower"
    assert report["int8_share"] > 0.9, "the dot product of the two is a product of elements and a sum"


@ALL
def test_it_ranks_items_for_a_user(made, name, capfd) -> None:
    assert command(["predict", str(made[1][name]["path"]), "u3", "--json"]) == 0
    (found,) = json.loads(capfd.readouterr().out)["predictions"]
    assert {int(each["item"][1:]) % 4 for each in found["top"]} == {3}, "users of this kind take every fourth item"


def test_the_score_is_the_dot_product_of_the_towers(made) -> None:
    """A user's scores do not depend on which other items are asked for."""
    bundle = edgeft.load(Path(made[1]["host-litert"]["path"]))
    session = bundle.session(baseline=True)
    few, width = np.array(["i3", "i7"]), bundle.preprocess["candidates"]
    feeds = bundle.task.preprocess({"user": "u3", "items": few}, bundle.preprocess)
    (scores,) = session.run(feeds).values()
    assert scores.shape == (1, width) and np.allclose(scores[0, 1:], scores[0, 1]), (
        "the row is filled with its last item"
    )
