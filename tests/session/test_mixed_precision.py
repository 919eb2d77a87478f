"""`quantize.method = "auto"`: sensitive layers return to float until the gates hold on validation."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import badly_scaled
import pytest
from torch import nn

import edgeft
from edgeft import data
from edgeft.cli.entry import run as command
from edgeft.config import recipe
from edgeft.core.errors import RecipeError
from edgeft.report import text

Bad = tuple[Path, nn.Sequential]


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Bad:
    """The file of the data, and the trained net with a value that cannot be quantized."""
    path = tmp_path_factory.mktemp("bad") / "shapes.npz"
    return path, badly_scaled.trained(path)


def tuned(bad: Bad, out: Path, **tables: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The summary of a run, and the row of its only scheme."""
    path, module = bad
    summary = edgeft.tune(badly_scaled.recipe_of(path, **tables), out, model=copy.deepcopy(module))
    (row,) = summary["schemes"].values()
    return summary, row


def test_the_layers_around_a_bad_value_return_to_float_and_are_named(bad: Bad, tmp_path: Path) -> None:
    summary, row = tuned(bad, tmp_path / "auto")
    auto = row["auto"]
    assert auto["verdict"] == "pass" and auto["limit"] == 0.02 and auto["n"] == 150
    assert set(row["keep_float"]) == set(badly_scaled.BAD) == set(auto["keep_float"])
    assert summary["float"] - row["ptq"] > 0.1 and summary["float"] - row["quantized"] <= 0.02
    assert row["method"] == "ptq" and row["integer_weights"] == 4

    first, *others = auto["path"]
    assert not first["holds"] and first["keep_float"] == [] and first["int8_macs"] == pytest.approx(1.0)
    taken = next(point for point in others if point["keep_float"] == auto["keep_float"])
    assert taken["holds"] and taken["drop"] <= 0.02 and 0.5 < taken["int8_macs"] < 0.7
    assert any(not point["holds"] and len(point["keep_float"]) == 1 for point in others), "one alone does not do"
    ranked = [layer["name"] for layer in auto["sensitivity"]["layers"]]
    assert set(ranked[:2]) == set(badly_scaled.BAD) and auto["sensitivity"]["split"] == "val"

    told = text.tuned(summary)
    assert "2 layers in float" in told and 'keep_float = ["0", "2"]' in told
    # the same recipe with these names gives the same model, to the byte
    _, again = tuned(bad, tmp_path / "named", quantize={"method": "ptq", "keep_float": row["keep_float"]})
    files = [next((tmp_path / name).glob("quantized.*.safetensors")).read_bytes() for name in ("auto", "named")]
    assert files[0] == files[1] and again["quantized"] == row["quantized"]


def test_where_calibration_is_enough_nothing_else_happens(bad: Bad, tmp_path: Path) -> None:
    _, row = tuned(bad, tmp_path / "run", quantize={"equalize": True, "epochs": 3})
    assert row["method"] == "ptq" and row["keep_float"] == [] and "updated_parameters" not in row
    assert row["auto"]["verdict"] == "pass" and len(row["auto"]["path"]) == 1 and "sensitivity" not in row["auto"]


@pytest.mark.slow
def test_nothing_left_to_give_is_a_failure_that_says_so(bad: Bad, tmp_path: Path) -> None:
    _, row = tuned(bad, tmp_path / "none", gates={"min_int8_share": 1.0})
    assert row["auto"]["verdict"] == "fail" and row["keep_float"] == [] and row["quantized"] == row["ptq"]
    assert "no layer can return to float: gates.min_int8_share is 1" in row["auto"]["why"]

    # one of both layers may be given, which is not enough; what was best is taken
    _, row = tuned(bad, tmp_path / "some", gates={"min_int8_share": 0.85})
    auto = row["auto"]
    assert auto["verdict"] == "fail" and "all that gates.min_int8_share allows" in auto["why"]
    assert all(point["int8_macs"] >= 0.85 for point in auto["path"])
    best = max(point["metric"] for point in auto["path"])
    assert any(p["metric"] == best and p["keep_float"] == row["keep_float"] for p in auto["path"])


@pytest.mark.slow
def test_training_comes_before_layers_in_float(bad: Bad, tmp_path: Path) -> None:
    training = {"epochs": 1, "lr": 3e-4}
    _, row = tuned(bad, tmp_path / "loose", quantize=training, gates={"max_drop": 0.15})
    assert row["method"] == "qat" and row["best_epoch"] == 1 and row["keep_float"] == []
    assert [(at["method"], at["holds"]) for at in row["auto"]["path"]] == [("ptq", False), ("qat", True)]

    summary, row = tuned(bad, tmp_path / "strict", quantize=training)
    assert [at["method"] for at in row["auto"]["path"][:3]] == ["ptq", "qat", "ptq"]
    assert set(row["keep_float"]) == set(badly_scaled.BAD) and row["method"] == "ptq" and row["best_epoch"] == 0
    told = text.tuned(summary)
    assert "layers in float took its place" in told and "trained (QAT)" not in told


@pytest.mark.slow
def test_limits_that_cannot_be_judged_by_are_refused_and_the_run_goes_on_with_others(bad: Bad, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="this gate could never fail"):
        tuned(bad, tmp_path / "run", gates={"max_drop": 0.9})
    assert not (tmp_path / "run" / "summary.json").exists()
    table = badly_scaled.recipe_of(bad[0])
    summary = edgeft.tune(table, tmp_path / "run", resume=True, model=copy.deepcopy(bad[1]))
    assert next(iter(summary["schemes"].values()))["auto"]["verdict"] == "pass"


def test_a_model_at_chance_is_not_judged(bad: Bad, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = badly_scaled.recipe_of(bad[0], quantize={"method": "ptq"}) | {"model": {"name": "resnet8"}}
    (tmp_path / "recipe.toml").write_text(recipe.dumps(recipe.from_table(table, "x")))
    run = tmp_path / "run"
    assert command(["tune", str(tmp_path / "recipe.toml"), "--until-gates-pass", "--out", str(run)]) == 0
    assert "auto, not judged: the float baseline's accuracy" in capfd.readouterr().out
    assert recipe.load(run / "recipe.toml").quantize.method == "auto"
    (row,) = json.loads((run / "summary.json").read_text())["schemes"].values()
    assert row["auto"]["verdict"] == "inconclusive" and "nothing that quantization could lose" in row["auto"]["why"]
    assert row["keep_float"] == [] and row["quantized"] == row["ptq"]


@pytest.mark.slow
def test_without_labels_agreement_is_the_limit(bad: Bad, tmp_path: Path) -> None:
    path, module = bad
    table = badly_scaled.recipe_of(path)
    opened = data.open(recipe.from_table(table, "x").data, "classify")
    unlabelled = dataclasses.replace(opened, facts={**opened.facts, "unlabelled": True})
    with pytest.raises(RecipeError, match="no limit to reach") as caught:
        edgeft.tune(table, tmp_path / "none", model=copy.deepcopy(module), dataset=unlabelled)
    assert "min_agreement" in str(caught.value)

    table["gates"]["min_agreement"] = 0.95
    summary = edgeft.tune(table, tmp_path / "run", model=copy.deepcopy(module), dataset=unlabelled)
    (row,) = summary["schemes"].values()
    assert set(row["keep_float"]) == set(badly_scaled.BAD)
    assert [point["holds"] for point in row["auto"]["path"]] == [
        point["agreement"] >= 0.95 for point in row["auto"]["path"]
    ]
