"""`policy = "auto"` and "sparse" in whole runs: the budget holds, the plan is kept, what it leaves out stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import tune_data
from safetensors.torch import load_file

from edgeft.core.errors import RecipeError
from edgeft.tune.run import tune


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data, and weights that know it a little."""
    folder = tmp_path_factory.mktemp("auto")
    data = tune_data.write(folder / "shapes.npz", (96, 24, 60))
    tune(tune_data.recipe_for(data, "train.epochs=1", "quantize.method='none'"), folder / "before")
    return data, folder / "before" / "float.safetensors"


def test_a_plan_is_made_kept_and_held_to(start: tuple[Path, Path], tmp_path: Path) -> None:
    data, weights = start
    made = tune_data.recipe_for(
        data, "update.policy='auto'", "update.memory_budget='300KiB'", model={"weights": str(weights)}
    )
    said: list[str] = []
    summary = tune(made, tmp_path / "run", say=said.append)
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["bytes"] <= plan["budget"] == 300 * 1024 < plan["full_bytes"]
    assert summary["peak_training_bytes"] == pytest.approx(plan["bytes"], rel=0.02), "what was planned is what it took"
    assert summary["plan"]["bytes"] == plan["bytes"]
    assert summary["updated_parameters"] < summary["total_parameters"] / 2
    points = plan["curve"]
    assert [p["bytes"] for p in points] == sorted(p["bytes"] for p in points) and points[-1]["name"] == "full"
    (taken,) = [p for p in points if p["taken"]]
    assert taken["bytes"] == plan["bytes"]
    assert taken["loss"] == min(p["loss"] for p in points if p["bytes"] <= plan["budget"] and p["name"] != "full")
    assert any(line.startswith("plan: ") for line in said) and any("<- chosen" in line for line in said)
    before, after = load_file(weights), load_file(tmp_path / "run" / "float.safetensors")
    learned = {row["layer"] for row in plan["layers"] if row["share"]} | {"fc"}
    for name in before:
        layer, _, leaf = name.rpartition(".")
        if leaf == "weight" and layer not in learned:
            assert torch.equal(before[name], after[name]), name
        if "running" in name:
            assert torch.equal(before[name], after[name]), "statistics are frozen"

    (tmp_path / "run" / "summary.json").unlink()
    again = tune(made, tmp_path / "run", resume=True)
    assert again["quantized"] == summary["quantized"]
    assert json.loads((tmp_path / "run" / "plan.json").read_text()) == plan, "a resumed run keeps its plan"


def test_a_budget_below_the_head_is_refused(start: tuple[Path, Path], tmp_path: Path) -> None:
    made = tune_data.recipe_for(start[0], "update.policy='auto'", "update.memory_budget='1KiB'")
    with pytest.raises(RecipeError, match="too little: the head alone takes"):
        tune(made, tmp_path / "run")


def test_a_plan_of_ones_own(start: tuple[Path, Path], tmp_path: Path) -> None:
    data, weights = start
    made = tune_data.recipe_for(
        data,
        update={"policy": "sparse", "biases": ["layer3"], "weights": {"layer3.0.conv2": 0.5}},
        model={"weights": str(weights)},
    )
    summary = tune(made, tmp_path / "run")
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert summary["peak_training_bytes"] == pytest.approx(plan["bytes"], rel=0.02)
    rows = {row["layer"]: row for row in plan["layers"]}
    assert rows["layer3.0.conv2"]["share"] == 0.5 and rows["layer3.0.conv2"]["bias"]
    assert not rows["layer1.0.conv1"]["values"] and plan["curve"] == []


@pytest.mark.parametrize(
    "setting, message", [("policy='auto'", "plans under"), ("policy='sparse'", "needs update.biases or update.weights")]
)
def test_a_plan_needs_something_to_go_by(start: tuple[Path, Path], tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        tune(tune_data.recipe_for(start[0], f"update.{setting}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
