"""Keys of [data] that a plug-in's format declares: as strict as all others, written, read back."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from edgeft import data
from edgeft.config import recipe
from edgeft.core.errors import InvalidInput, RecipeError

pytestmark = pytest.mark.board

#: one name and module a test: an imported module stays in the process
NUMBERS = itertools.count()
PLUGIN = """
from dataclasses import dataclass
import numpy as np
from edgeft.config.data_keys import option
from edgeft.data import Dataset, Format, Split


@dataclass(frozen=True)
class Options:
    separator: str = option(" ", "what separates numbers", choices=(" ", ";"))
    skip: int = option(0, "lines at the beginning", low=0, high=9)
    names: tuple[str, ...] = option((), "names of the columns")
    tag: str = option("", "a word")


class Rows:
    def __init__(self, spec):
        o = spec.options
        self.rows = np.loadtxt(spec.path, np.float32, delimiter=o.separator, skiprows=o.skip, ndmin=2)

    def __len__(self):
        return len(self.rows)

    def raw(self, i):
        return self.rows[i]

    def source(self, i):
        return str(i)


def read(spec):
    assert isinstance(spec.options, Options)
    pool = Rows(spec)
    at = np.arange(len(pool))
    return Dataset(spec.path, spec.options.names, {"train": Split("train", pool, at, at % 2)})


FORMAT = Format("NAME", "Numbers in columns.", read, options=Options)
"""


def install(folder: Path, source: str) -> str:
    """A package with one format, as pip leaves it; returns the name of the format."""
    number = next(NUMBERS)
    name, module = f"numbers-{number}", f"numbers_of_keys_{number}"
    (folder / f"{module}.py").write_text(source.replace("NAME", name))
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[edgeft.data]\n{name} = {module}:FORMAT\n")
    return name


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(tmp_path)
    return install(tmp_path, PLUGIN)


def test_keys_reach_the_format_and_recipes_write_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text("a head\n0;1\n2;3\n4;5\n6;7\n")
    text = f'[data]\nformat = "{name}"\npath = "{path}"\nseparator = ";"\nskip = 1\nnames = ["a", "b"]\n'
    (tmp_path / "recipe.toml").write_text(text)
    loaded = recipe.load(tmp_path / "recipe.toml")

    dataset = data.open(loaded.data)
    assert dataset.split("train").raw(1).tolist() == [2, 3]
    assert dataset.labels == ("a", "b") and dataset.notes == []

    resolved = recipe.dumps(loaded)
    assert 'separator = ";"' in resolved and 'tag = ""' in resolved and "options" not in resolved
    (tmp_path / "resolved.toml").write_text(resolved)
    assert recipe.load(tmp_path / "resolved.toml") == loaded
    assert recipe.from_table(recipe.as_table(loaded), "again") == loaded

    # a bundle records the table as JSON; `--data` reads other data with the same keys
    np.savetxt(tmp_path / "other.txt", np.ones((4, 2)), delimiter=";", header="a head", comments="")
    recorded = {"format": name, "options": {"separator": ";", "skip": 1, "names": ["a", "b"]}}
    assert data.open(data.source(tmp_path / "other.txt", recorded)).split("train").raw(0).tolist() == [1, 1]


def test_a_format_without_settings_has_its_defaults(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.txt").write_text("0 1\n2 3\n4 5\n")
    for spec in (
        recipe.from_table({"data": {"format": name, "path": str(tmp_path / "x.txt")}}, "r").data,
        recipe.Data(format=name, path=str(tmp_path / "x.txt")),
    ):
        assert data.open(spec).split("train").raw(2).tolist() == [4, 5]


@pytest.mark.parametrize(
    ("line", "message", "remedy"),
    [
        ("separatr = ';'", "unknown key 'data.separatr'", "did you mean 'separator'?"),
        ("pth = 'x'", "unknown key 'data.pth'", "did you mean 'path'?"),
        ("options = { skip = 1 }", "unknown key 'data.options'", ""),
        ("skip = '1'", "'data.skip' must be a whole number, not '1'", ""),
        ("skip = 10", "'data.skip' must be at most 9, not 10", ""),
        ("skip = -1", "'data.skip' must be at least 0, not -1", ""),
        ("separator = ','", "'data.separator' cannot be ','", ""),
        ("names = 'a'", "'data.names' must be a list, not 'a'", 'write names = ["a"]'),
        ("size = -3", "'data.size' must be from 0", ""),
    ],
)
def test_mistakes_name_their_line(tmp_path: Path, name: str, line: str, message: str, remedy: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f'[data]\nformat = "{name}"\n\n{line}\n')
    with pytest.raises(RecipeError) as caught:
        recipe.load(path)
    assert message in caught.value.message and remedy in caught.value.remedy
    assert caught.value.where == f"{path}:4" and caught.value.exit_code == 3


def test_a_key_of_one_format_is_unknown_to_another(tmp_path: Path, name: str) -> None:
    path = tmp_path / "recipe.toml"
    for form, message in (("npz", "unknown key 'data.skip'"), (name + "x", f"'data.format' cannot be '{name}x'")):
        path.write_text(f'[data]\nformat = "{form}"\nskip = 1\n')
        with pytest.raises(RecipeError, match=message):
            recipe.load(path)


def test_settings_of_the_command_line_have_the_type_of_the_key(name: str) -> None:
    made = recipe.from_table({"data": {"format": name, "separator": ";"}}, "r")
    changed = recipe.override(made, ["data.skip=3", "data.tag=7", 'data.separator=" "', 'data.names=["x"]'])
    assert changed.data.options == {"separator": " ", "skip": 3, "names": ["x"], "tag": "7"}
    with pytest.raises(RecipeError, match=r"'data\.skip' must be at most 9") as caught:
        recipe.override(made, ["data.skip=11"])
    assert caught.value.where == "--set data.skip=11"
    assert recipe.override(made, ["data.format=npz"]).data.options == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("skip: int", "length: int", "`options` has the key 'length', which every format has"),
        ('tag: str = option("", "a word")', "tag: str", "the key 'tag' of `options` has no default"),
        ("options=Options", "options=dict", "`options` must be a dataclass"),
    ],
)
def test_a_wrong_declaration_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    source = PLUGIN.replace(old, new)
    if new == "tag: str":  # a field without a default has to be the first
        source = PLUGIN.replace(f"    {old}\n", "").replace("class Options:\n", "class Options:\n    tag: str\n")
    monkeypatch.syspath_prepend(tmp_path)
    name = install(tmp_path, source)
    with pytest.raises(InvalidInput) as caught:
        data.open(recipe.Data(format=name))
    assert message in caught.value.message and caught.value.where == f"Format {name}"
