"""Recipes: strict reading, overrides, and TOML that reads back as the same recipe."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft import tasks
from edgeft.config import recipe, starting_recipes, tables
from edgeft.config.recipe import Recipe
from edgeft.core.errors import RecipeError, UsageError
from edgeft.plugins import DATA_FORMATS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(tmp_path: Path, text: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        recipe.load(write(tmp_path, text))
    assert caught.value.exit_code == 3
    return caught.value


def test_an_empty_recipe_is_the_default(tmp_path: Path) -> None:
    assert recipe.load(write(tmp_path, "")) == Recipe()


def test_every_kind_of_key_is_read(tmp_path: Path) -> None:
    made = recipe.load(
        write(
            tmp_path,
            """
task = "classify"
name = "blood-cells"
[model]
source = "timm"
name = "resnet18"
args = { drop_rate = 0.1, sizes = [1, 2] }
[data]
channels = 1
mean = [0.5]
std = [1]
split = [0.8, 0, 0.2]
[train]
lr = 1
[quantize]
distill = false
keep_float = ["head*"]
[export]
targets = ["rpi5", "jetson"]
[gates]
max_drop = 0
decide = "bound"
""",
        )
    )
    assert made.name == "blood-cells"
    assert made.model.args == {"drop_rate": 0.1, "sizes": [1, 2]}
    assert (made.data.mean, made.data.std, made.data.split) == ((0.5,), (1.0,), (0.8, 0.0, 0.2))
    assert made.train.lr == 1.0
    assert isinstance(made.train.lr, float)
    assert made.quantize.distill is False
    assert made.quantize.keep_float == ("head*",)
    assert made.export.targets == ("rpi5", "jetson")
    assert made.gates.max_drop == 0.0
    assert made.train.epochs == Recipe().train.epochs


@pytest.mark.parametrize(
    ("text", "line", "message", "remedy"),
    [
        ("\n[train]\nepoch = 3\n", 3, "unknown key 'train.epoch'", "did you mean 'epochs'?"),
        ("name = 'a'\n[trian]\nepochs = 3\n", 2, "unknown table 'trian'", "did you mean 'train'?"),
        ("epochs = 3\n", 1, "unknown key 'epochs'", "it belongs into [train] or [quantize]"),
        ("[train]\nepochs = 'ten'\n", 2, "'train.epochs' must be a whole number, not 'ten' (a string)", ""),
        ("[train]\nepochs = true\n", 2, "'train.epochs' must be a whole number", ""),
        ("[train]\nepochs = -1\n", 2, "'train.epochs' must be from 0", ""),
        ("[train]\nlr = 0\n", 2, "'train.lr' must be above 0", ""),
        ("[train]\nlr = inf\n", 2, "'train.lr' must be a finite number", ""),
        ("train = 3\n", 1, "'train' must be a table", ""),
        ("task = 'clasify'\n", 1, "'task' cannot be 'clasify'", "did you mean 'classify'?"),
        ("[model]\nsource = 'tim'\n", 2, "'model.source' cannot be 'tim'", "did you mean 'timm'?"),
        ("[model]\nname = ' '\n", 2, "'model.name' must not be empty", ""),
        ("[update]\npolicy = 'heads'\n", 2, "'update.policy' cannot be 'heads'", "did you mean 'head'?"),
        ("[update]\nmemory_budget = 'lots'\n", 2, "must be a size such as '64MiB'", ""),
        ("[export]\n\ntargets = 'rpi5'\n", 3, "'export.targets' must be a list", 'write targets = ["rpi5"]'),
        ("[export]\ntargets = []\n", 2, "must name at least one target", "edgeft targets list"),
        ("[export]\ntargets = ['a', 'a']\n", 2, "names a target twice", ""),
        ("[export]\ntargets = ['a', 3]\n", 2, "'export.targets[1]' must be a string", ""),
        ("[gates]\nmin_int8_share = 50\n", 2, "'gates.min_int8_share' must be from 0 to 1, not 50", ""),
        ("[gates]\ndecide = 'bounds'\n", 2, "cannot be 'bounds'", "did you mean 'bound'?"),
        ("[data]\nchannels = 4\n", 2, "'data.channels' must be 1 or 3", ""),
        ("[data]\nsplit = [0.5, 0.5, 0.5]\n", 2, "add up to 1", ""),
        ("[data]\nsplit = [1.0, 0, 0]\n", 2, "must leave samples for train and for test", ""),
        ("[data]\nmean = [0.5]\nstd = [1]\n", 2, "one number a channel (3), not 1", ""),
        ("[data]\nmean = [0.5, 0.5, 0.5]\n", 2, "given without data.std", "give both"),
        ("[data]\nmean = [0.5, 0.5, 0.5]\nstd = [1, 1, 0]\n", 3, "'data.std' must be above 0", ""),
        ("name = '../up'\n", 1, "it names folders", ""),
        ("[train\n", 1, "not valid TOML", ""),
        ("[personalize]\ntale = 'head'\n", 2, "unknown key", "did you mean 'tail'?"),
        ("[personalize]\ntail = ''\n", 2, "'personalize.tail' must not be empty", "head"),
        ("[personalize]\noptimizer = 'sdg'\n", 2, "cannot be 'sdg'", "did you mean 'sgd'?"),
        ("[personalize]\nbatch_size = 1\n", 2, "'personalize.batch_size' must be from 2", ""),
        ("[update]\npolicy = 'last:0'\n", 2, "'update.policy' cannot be 'last:0'", ""),
        ("[update]\nrank = 0\n", 2, "'update.rank' must be from 1", ""),
        ("[update]\nalpha = 0\n", 2, "'update.alpha' must be above 0", ""),
        ("[train]\nlayer_decay = 1.5\n", 2, "'train.layer_decay' must be from 0 to 1", ""),
        ("[train]\nlayer_decay = 0\n", 2, "'train.layer_decay' must be above 0", ""),
        ("[train]\nunfreeze = -1\n", 2, "'train.unfreeze' must be from 0", ""),
        ("[train]\nclass_weights = 'balance'\n", 2, "cannot be 'balance'", "did you mean 'balanced'?"),
    ],
)
def test_mistakes_name_their_line_and_remedy(tmp_path: Path, text: str, line: int, message: str, remedy: str) -> None:
    error = refused(tmp_path, text)
    assert error.where == f"{tmp_path / 'recipe.toml'}:{line}"
    assert message in error.message
    assert remedy in error.remedy


def test_a_missing_file_is_an_invalid_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.load(tmp_path / "none.toml")
    assert caught.value.exit_code == 3
    assert "none.toml" in caught.value.where


def test_every_task_of_the_language_is_a_name_here() -> None:
    for task in tasks.BUILTIN:
        assert recipe.from_table({"task": task}, "here").task == task


def test_choices_and_ranges_speak_of_keys_that_exist() -> None:
    for dotted in (*recipe.CHOICES, *recipe.RANGES, *recipe.POSITIVE, *recipe.REGISTRIES):
        value: Any = Recipe(personalize=recipe.Personalize())
        for part in dotted.split("."):
            value = getattr(value, part)
        if dotted in recipe.CHOICES:
            assert value in recipe.CHOICES[dotted]
    numbers = {
        f"{name}.{key}"
        for name, kind in sections().items()
        for key, hint in tables.hints(kind).items()
        if hint in (int, float, float | None)
    }
    assert numbers - set(recipe.RANGES) == {"data.channels"}  # which has a rule of its own


def sections() -> dict[str, type]:
    """The tables of a recipe by name, the one that may be left out too."""
    kinds = {name: next(iter(get_args(hint)), hint) for name, hint in tables.hints(Recipe).items()}
    return {name: kind for name, kind in kinds.items() if dataclasses.is_dataclass(kind)}


#: reading the entry points of all installed packages takes long
REGISTERED = {key: registry.names() for key, registry in recipe.REGISTRIES.items()}
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,20}", fullmatch=True)
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
plain = st.booleans() | st.integers(-1000, 1000) | st.floats(-1e6, 1e6) | texts


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    ranges = {key: draw(st.floats(*bounds)) for key, bounds in recipe.RANGES.items()}

    def number(key: str) -> Any:
        value = ranges[key]
        if key in recipe.POSITIVE and value == 0:
            return 1e-5
        section, name = key.split(".")
        return int(value) if tables.hints(sections()[section])[name] is int else value

    table: dict[str, Any] = {"name": draw(names)}
    for key in recipe.RANGES:
        section, name = key.split(".")
        table.setdefault(section, {})[name] = number(key)
    for key, allowed in recipe.CHOICES.items():
        if "." in key:
            section, name = key.split(".")
            table.setdefault(section, {})[name] = draw(st.sampled_from(allowed))
    for key, registered in REGISTERED.items():
        section, _, leaf = key.rpartition(".")
        (table.setdefault(section, {}) if section else table)[leaf] = draw(st.sampled_from(registered))
    table["model"].update(weights=draw(texts), args=draw(st.dictionaries(texts, plain | st.lists(plain), max_size=3)))
    table["data"].update(path=draw(texts))
    table["quantize"].update(keep_float=draw(st.lists(texts, max_size=3)), distill=draw(st.booleans()))
    table["export"] = {"targets": draw(st.lists(names, min_size=1, max_size=3, unique=True))}
    if draw(st.booleans()):
        del table["gates"]["max_drop"]
    table["personalize"]["tail"] = draw(names)
    if draw(st.booleans()):
        del table["personalize"]
    return recipe.from_table(table, "drawn")


@given(recipes())
def test_dumps_reads_back_as_the_same_recipe(made: Recipe) -> None:
    text = recipe.dumps(made)
    assert recipe.from_table(tomllib.loads(text), "again", text=text) == made
    assert ("\n[personalize]\n" in text) == (made.personalize is not None)  # a drawn text may be the bare word
    assert recipe.from_table(recipe.as_table(made), "table") == made


def test_dumps_resolves_every_key() -> None:
    table = tomllib.loads(recipe.dumps(Recipe()))
    for name, kind in tables.hints(Recipe).items():
        if dataclasses.is_dataclass(kind):
            absent = set(recipe.keys_of(kind)) - set(table[name])
            assert absent == ({"max_drop"} if name == "gates" else set())
        else:
            assert name in table or name == "personalize"  # which is there where it is wanted


def test_override_reads_toml_values_and_bare_strings() -> None:
    made = recipe.override(
        Recipe(),
        [
            "train.epochs=3",
            "train.lr = 1e-2",
            "data.path=data/blood cells=1",
            "name=2024",
            "quantize.distill=false",
            'export.targets=["rpi5", "jetson"]',
            "gates.max_drop=0.02",
            "model.args.width_mult=0.5",
            'model.weights="quoted.safetensors"',
            "task=classify",
        ],
    )
    assert made.train.epochs == 3
    assert made.train.lr == 0.01
    assert made.data.path == "data/blood cells=1"
    assert made.name == "2024"
    assert made.quantize.distill is False
    assert made.export.targets == ("rpi5", "jetson")
    assert made.gates.max_drop == 0.02
    assert made.model.args == {"width_mult": 0.5}
    assert made.model.weights == "quoted.safetensors"
    assert recipe.override(made, []) == made


def test_override_never_takes_a_second_key_from_a_value() -> None:
    made = recipe.override(Recipe(), ["data.path=1\nother = 2"])
    assert made.data.path == "1\nother = 2"


@pytest.mark.parametrize("setting", ["train.epochs", "=3", "train..epochs=3", ".epochs=3", "train epochs=3", ""])
def test_override_syntax_is_a_usage_error(setting: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe.override(Recipe(), [setting])
    assert caught.value.exit_code == 2
    assert "table.key=value" in caught.value.message


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ("train.epoch=3", "did you mean 'epochs'?"),
        ("trian.epochs=3", "did you mean 'train'?"),
        ("epochs=3", "it belongs into [train] or [quantize]"),
        ("train.epochs=many", ""),
        ("name.first=x", ""),
        ("export.targets=rpi5", 'write targets = ["rpi5"]'),
        ("update.policy=spares", "did you mean 'sparse'?"),
        ("personalize.tail=", "head, last"),
    ],
)
def test_override_of_a_wrong_key_or_value_is_a_recipe_error(setting: str, remedy: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.override(Recipe(), [setting])
    assert setting in caught.value.where
    assert remedy in caught.value.remedy


@given(st.text(max_size=30))
def test_override_of_anything_is_a_recipe_or_one_of_two_errors(setting: str) -> None:
    try:
        assert isinstance(recipe.override(Recipe(), [setting]), Recipe)
    except (UsageError, RecipeError) as error:
        assert error.exit_code in (2, 3)


def spoken(task: str) -> dict:
    """The template's table with every commented key switched on."""
    commented = re.compile(r"# (\w+ = .*)")
    lines = starting_recipes.template(task).splitlines()
    return tomllib.loads("\n".join(match[1] if (match := commented.match(line)) else line for line in lines))


def test_templates_together_speak_of_every_key() -> None:
    spoken_of = [spoken(task) for task in tasks.BUILTIN]
    formats = {DATA_FORMATS.get(table["data"]["format"]) for table in spoken_of}
    of_formats = {field.name for form in formats if form.options for field in dataclasses.fields(form.options)}
    for name, kind in tables.hints(Recipe).items():
        if dataclasses.is_dataclass(kind):
            expected = {*recipe.keys_of(kind), *(of_formats if name == "data" else ())}
            assert set().union(*(table.get(name, {}) for table in spoken_of)) == expected


def complete(spec: recipe.Data) -> recipe.Data:
    """`spec` with all settings of its format."""
    return DATA_FORMATS.get(spec.format).with_options(spec)


@pytest.mark.parametrize("task", tasks.BUILTIN)
def test_a_template_loads_and_its_comments_say_the_defaults(tmp_path: Path, task: str) -> None:
    made = recipe.load(write(tmp_path, starting_recipes.template(task)))
    assert made.task == task
    # With every commented key switched on it still loads, and none changes anything but two that stand for more than
    # their own default: the task's gate, and the columns that a format looks for.
    full = recipe.from_table(spoken(task), "awake")
    drops = {key: getattr(made.gates, key) for key in ("max_drop", "max_drop_relative")}
    gates = dataclasses.replace(full.gates, **drops)
    columns = dataclasses.replace(full.data, columns={})
    assert dataclasses.replace(full, gates=gates, data=complete(columns)) == dataclasses.replace(
        made, data=complete(made.data)
    )
    metric = tasks.get(task).metric
    assert full.gates.max_drop_relative in (0.0, metric.max_drop_relative)


def test_template_of_an_unknown_task() -> None:
    with pytest.raises(UsageError, match="clasify") as unknown:
        starting_recipes.template("clasify")
    assert unknown.value.remedy == "did you mean 'classify'?"


def test_embedded_recipe() -> None:
    made = starting_recipes.embedded()
    assert (made.task, made.name) == ("classify", "digits")
    assert (made.model.source, made.model.name) == ("builtin", "efficientnet_lite0")
    assert (made.data.format, made.data.path, made.data.size) == ("embedded", "mnist5k", 48)
    assert made.export.targets == ("jetson", "rpi5", "intel-nuc")
