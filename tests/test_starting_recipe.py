"""The recipe of `edgeft init --target`: what it names can be made for the target, or a warning says that it cannot."""

from __future__ import annotations

from pathlib import Path

import interactions_data
import pytest

import edgeft
from edgeft import starting_recipe
from edgeft.config import recipe, starting_recipes, target
from edgeft.core.errors import ModelError
from edgeft.plugins import TASKS


def written(task: str, *targets: str) -> tuple[str, list[str]]:
    lines: list[str] = []
    return starting_recipe.for_targets(starting_recipes.template(task), task, targets, lines.append), lines


def test_without_a_target_it_is_the_template() -> None:
    assert written("recommend") == (starting_recipes.template("recommend"), [])


def test_a_recommender_for_a_board_without_tables_of_integers_has_layers_to_quantize(tmp_path: Path) -> None:
    data = interactions_data.write_ratings(tmp_path / "ratings.csv")
    text, lines = written("recommend", "rpi5", "jetson-orin-nano")
    assert len(lines) == 1 and "jetson-orin-nano" in lines[0] and "rpi5" not in lines[0]
    assert "model.name=neumf" in lines[0]

    path = tmp_path / "recipe.toml"
    path.write_text(text)
    plan = edgeft.tune(path, dry_run=True, overrides=[f"data.path={data}"])
    assert list(plan["objections"]) == ["rpi5", "jetson-orin-nano"]
    assert not [o for o in plan["objections"]["jetson-orin-nano"] if o["severity"] == "refuse"]

    usual, lines = written("recommend", "rpi5")
    assert 'name = "ease"' in usual and lines == []
    path.write_text(usual)
    said: list[str] = []
    with pytest.raises(ModelError, match="no layer of this model"):
        settings = [f"data.path={data}", 'export.targets=["jetson-orin-nano"]']
        edgeft.tune(path, dry_run=True, overrides=settings, say=said.append)
    assert any("edgeft init recommend --target jetson-orin-nano" in line for line in said)


@pytest.mark.parametrize("task", sorted(name for name in TASKS.names() if TASKS.get(name).embeddings))
def test_a_board_that_computes_integers_alone_gets_a_warning_where_models_look_up_embeddings(task: str) -> None:
    assert target.load("coral").full_integer and not target.load("intel-nuc").full_integer
    text, (line,) = written(task, "coral", "intel-nuc")
    assert line.startswith("warning: coral: integer ops only")
    assert recipe.from_table(starting_recipe._parsed(text), "r", text=text).export.targets == ("coral", "intel-nuc")


def of_folder(task: str, *settings: str) -> recipe.Recipe:
    overrides = ["model.source=transformers", "model.weights=models/net", *settings]
    text = starting_recipe.for_source(starting_recipes.template(task), task, overrides)
    text = starting_recipe.with_overrides(text, overrides)
    return recipe.from_table(starting_recipe._parsed(text), "r", text=text)


@pytest.mark.parametrize("task", ["translate", "speech", "keyword", "classify", "segment", "detect"])
def test_for_a_folder_of_transformers_it_says_nothing_of_the_templates_own_network(task: str) -> None:
    table = of_folder(task)
    assert (table.model.source, table.model.weights) == ("transformers", "models/net")
    assert table.model.name == recipe.Model.name and table.model.args == {}, "config.json says them"
    assert not table.data.sound and (table.train.lr <= 1e-4 or task in ("classify", "segment", "detect"))
    assert of_folder(task, "train.lr=3e-5", "model.name=net").train.lr == 3e-5
    assert of_folder(task, "model.name=net").model.name == "net"


def test_the_templates_own_source_keeps_its_network() -> None:
    template = starting_recipes.template("translate")
    assert starting_recipe.for_source(template, "translate", ["model.source=builtin", "train.lr=1e-3"]) == template
    text = starting_recipe.for_source(template, "translate", ["model.source=python", "model.name=net.py:make"])
    assert '\nname = "seq2seq"' in text and "\n# args = {" in text and "lr = 2e-3" in text
