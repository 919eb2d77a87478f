"""Paths as people write them: the home folder, paths of Windows in TOML, and one full path in an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shapes_run
import tiny_bundle

from edgeft.cli.entry import run
from edgeft.config import recipe, recipe_paths
from edgeft.core.errors import DataError, RecipeError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, and a current folder beside it."""
    folder = tmp_path / "home"
    (tmp_path / "here").mkdir()
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(tmp_path / "here")
    return folder


def test_a_tilde_is_the_home_folder_in_options_and_arguments(home: Path) -> None:
    assert run(["init", "--out=~/r.toml"]) == 0
    assert (home / "r.toml").is_file()
    bundle = _bundle(home)
    assert run(["report", f"~/{bundle.name}", "--out=~/page.html"]) == 0
    assert (home / "page.html").is_file()
    shapes_run.write_data(home / "d.npz")
    assert run(["data", "check", "~/d.npz", "--out=~/d.html"]) == 0
    assert (home / "d.html").is_file() and not any(Path.cwd().iterdir())


@pytest.mark.parametrize("key", recipe_paths.PATHS)
def test_a_tilde_is_the_home_folder_in_a_recipe(key: str, home: Path) -> None:
    table, _, name = key.partition(".")
    loaded = recipe.from_table({table: {name: "~/x/y"}}, "r.toml")
    assert recipe.value_of(loaded, key) == str(home / "x/y")
    assert recipe.load(_written(home, recipe.dumps(loaded))) == loaded


def _bundle(parent: Path) -> Path:
    """A bundle with a report, as an export leaves it."""
    path = tiny_bundle.build(parent)
    (path / "report.json").write_text(json.dumps({"schema": "1.0", "target": "tiny", "gates": []}))
    return path


def _written(folder: Path, text: str) -> Path:
    (folder / "r.toml").write_text(text)
    return folder / "r.toml"


@pytest.mark.parametrize("text", [r'path = "C:\Users\me"', r'path = "D:\data"', r'path = "C:\new\test"'])
def test_a_path_of_windows_in_double_quotes_gets_a_hint(text: str, home: Path) -> None:
    with pytest.raises(RecipeError) as refused:
        recipe.load(_written(home, f"[data]\n{text}\n"))
    assert refused.value.where.endswith("r.toml:2")
    assert "backslash" in refused.value.remedy and '"C:/data' in refused.value.remedy


def test_other_wrong_toml_gets_no_such_hint(home: Path) -> None:
    with pytest.raises(RecipeError) as refused:
        recipe.load(_written(home, '[data]\npath = "a" b\n'))
    assert refused.value.remedy == ""
    assert recipe.load(_written(home, "[data]\npath = 'C:\\new'\n")).data.path == r"C:\new"


def test_the_full_path_stands_once_in_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for label in ("cat", "dog"):
        folder = tmp_path / "data" / "train" / label
        folder.mkdir(parents=True)
        for i in range(3):
            (folder / f"{i}.png").write_bytes(b"no picture")
    assert run(["data", "check", str(tmp_path / "data"), "--samples", "0"]) == 3
    line = next(line for line in capfd.readouterr().err.splitlines() if line.startswith("error: "))
    assert line.count(f"{tmp_path}/data") == 1 and "dog/" in line
    error = DataError("2 cannot be read: /a/b/c.jpg: bad; /a/b/d.jpg: bad; /a/bc.jpg", where="/a/b/c.jpg:3")
    assert str(error) == "/a/b/c.jpg:3: 2 cannot be read: c.jpg: bad; d.jpg: bad; /a/bc.jpg"
    assert json.loads(json.dumps(error.as_dict()))["message"] == error.message


def test_a_report_is_written_into_what_it_is_about(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first, second = (_bundle(tmp_path / name) for name in ("a", "b"))
    for _ in range(2):
        assert run(["report", str(first)]) == 0
        assert f"wrote {first}/report.html" in capfd.readouterr().out
    assert list(Path.cwd().iterdir()) == []
    assert run(["verify", str(first)]) in (0, 1, 5), "a page in a bundle is none of its listed files"
    assert run(["report", str(first), str(second)]) == 0
    assert Path("report.html").is_file()
    assert run(["report", str(first), str(second)]) == 2
