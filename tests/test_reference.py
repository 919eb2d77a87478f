"""docs/reference/ is what scripts/reference.py makes of the code."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from edgeft.config import recipe

CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", CHECKOUT / "scripts" / "reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["recipe.md", "profile.md", "commands.md", "../../examples/plugin/README.md"])
def test_the_page_is_up_to_date(generator: ModuleType, name: str) -> None:
    path = CHECKOUT / "docs" / "reference" / name
    assert path.read_text(encoding="utf-8") == generator.PAGES[name](), "run `python scripts/reference.py`"


def test_every_key_and_command_has_a_row(generator: ModuleType) -> None:
    page = generator.recipe_page()
    for key in (*recipe.CHOICES, *recipe.RANGES):
        table, _, name = key.rpartition(".")
        section = page.split(f"## `[{table}]`" if table else "## Top level")[1].split("\n## ")[0]
        assert f"| `{name}` |" in section, key
    commands = generator.commands_page()
    for command in ("tune", "export", "verify", "bench", "targets check", "device setup", "doctor"):
        assert f"## `edgeft {command}`" in commands


def test_every_key_of_a_recipe_has_a_meaning(generator: ModuleType) -> None:
    text = (generator.FOLDER / "recipe.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `") and line.count(" | ") == 4]
    assert len(rows) > 80
    assert not [row[:40] for row in rows if row.endswith("|  |")]


def test_a_stale_page_is_named(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generator, "FOLDER", tmp_path / "docs" / "reference")
    example = shutil.copytree(generator.EXAMPLE, tmp_path / "examples" / "plugin")
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    monkeypatch.setattr(generator, "EXAMPLE", example)
    assert generator.main(check=True) == 1 and "recipe.md differs" in capsys.readouterr().out
    assert generator.main(check=False) == 0 and generator.main(check=True) == 0
    (generator.FOLDER / "commands.md").write_text("old")
    assert generator.main(check=True) == 1 and "commands.md differs" in capsys.readouterr().out
    readme = example / "README.md"
    readme.write_text(readme.read_text().replace("`separator`", "`delimiter`"))
    assert generator.main(check=True) == 1 and "examples/plugin/README.md differs" in capsys.readouterr().out


def test_the_architecture_has_a_row_for_every_package() -> None:
    """A reader finds a thing by this table alone."""
    package = CHECKOUT / "edgeft"
    lines = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[1] for line in lines if line.startswith("|")]
    listed = set(re.findall(r"`([^`]+)`", " ".join(rows)))
    folders = {f"{path.name}/" for path in package.iterdir() if path.is_dir() and any(path.glob("*.*"))}
    folders -= {name for name in folders if name.startswith("_")}
    files = {path.name for path in package.glob("*.py") if not path.name.startswith("_")}
    assert len(folders) > 25 and folders | files <= listed, sorted((folders | files) - listed)
    assert {name for name in listed if name.endswith("/")} == folders
