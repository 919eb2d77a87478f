"""A model source of another package: found by its entry point, one for several tasks, from a recipe to a tuned run."""

from __future__ import annotations

import json
from pathlib import Path

import builds
import pytest
import tune_data

from edgeft.config import recipe
from edgeft.core.errors import InvalidInput, RecipeError
from edgeft.plugins import MODEL_SOURCES
from edgeft.tune.run import tune

PACKAGE = """
from torch import nn
from edgeft.models import Built, ModelRequest, ModelSource
from edgeft.models.built import image_spec


def build(request: ModelRequest) -> Built:
    if request.task == "control":
        return Built(nn.Sequential(nn.Linear(4, request.outputs)), "0", {}, request.outputs)
    width = request.model.args.get("width", 8)
    body = [nn.Conv2d(3, width, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    module = nn.Sequential(*body, nn.Linear(width, request.outputs)).eval()
    return Built(module, "4", image_spec((32, 32)), request.outputs, notes=(f"facts: {sorted(request.facts)}",))


SOURCE = ModelSource("pocket", "Networks that fit a pocket.", build, tasks=("classify", "control"))
NO_SOURCE = build
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as pip leaves it: a module, and a dist-info folder with its entry points."""
    folder = tmp_path / "site"
    info = folder / "edgeft_pocket-0.1.dist-info"
    info.mkdir(parents=True)
    (folder / "edgeft_pocket.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: edgeft-pocket\nVersion: 0.1\n")
    lines = "pocket = edgeft_pocket:SOURCE\nfunction = edgeft_pocket:NO_SOURCE\n"
    (info / "entry_points.txt").write_text(f"[edgeft.models]\n{lines}")
    monkeypatch.syspath_prepend(folder)
    return folder


def test_a_recipe_with_its_model_becomes_a_tuned_run(installed: Path, tmp_path: Path) -> None:
    data = tune_data.write(tmp_path / "shapes.npz")
    model = {"source": "pocket", "name": "small", "args": {"width": 6}}
    made = tune_data.recipe_for(data, "train.epochs=1", "quantize.epochs=1", model=model)
    summary = tune(made, tmp_path / "run")
    assert summary["total_parameters"] == 3 * 9 * 6 + 6 + 6 * 3 + 3
    assert recipe.load(tmp_path / "run" / "recipe.toml").model.source == "pocket"
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["quantized"] == summary["quantized"]


def test_one_source_serves_several_tasks(installed: Path) -> None:
    model = recipe.Model(source="pocket", name="small")
    assert builds.build(model, 5).module[0].in_channels == 3  # type: ignore[index]
    assert builds.build(model, 2, task="control").module[0].in_features == 4  # type: ignore[index]
    with pytest.raises(RecipeError, match="no models for the task 'speech'") as caught:
        builds.build(model, 2, task="speech")
    assert "classify, control" in str(caught.value.remedy)


def test_sources_are_those_that_a_recipe_may_name(installed: Path) -> None:
    assert {"builtin", "timm", "torchvision", "transformers", "ultralytics", "python", "module", "pocket"} <= set(
        MODEL_SOURCES.names()
    )
    for name in MODEL_SOURCES.builtin:
        assert MODEL_SOURCES.get(name).name == name
    table = {"task": "classify", "model": {"source": "poket"}}
    with pytest.raises(RecipeError, match="cannot be 'poket'") as caught:
        recipe.from_table(table, "recipe.toml")
    assert "did you mean 'pocket'?" in str(caught.value.remedy)


def test_what_is_no_record_of_a_source_is_named(installed: Path) -> None:
    with pytest.raises(InvalidInput, match="expected a record of the class ModelSource"):
        builds.build(recipe.Model(source="function", name="x"), 2)
