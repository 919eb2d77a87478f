"""The command line in a process of its own, with its answer; and the working folder of such a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import shapes_run

from edgeft.config import recipe


@dataclass(frozen=True)
class Answer:
    code: int
    found: dict[str, Any]
    err: str

    @property
    def said(self) -> str:
        return f"{self.found.get('where')}: {self.found.get('message')} -> {self.found.get('remedy')}"


def start(*argv: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgeft", *map(str, argv), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if "preexec_fn" in options:  # a child that must not write cannot write what coverage counts either
        environment.pop("COVERAGE_PROCESS_CONFIG", None)
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def finish(process: subprocess.Popen[str], error: bool = True) -> Answer:
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err + out, err
    assert out.count("\n") == 1, (out, err)
    found = json.loads(out)
    if error:
        assert found["exit_code"] == process.returncode and found["message"], found
    return Answer(process.returncode, found, err)


def ask(*argv: object, error: bool = True, **options: Any) -> Answer:
    return finish(start(*argv, **options), error)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


def left() -> list[str]:
    """Everything below the working folder, the inputs of the test left out."""
    names = sorted(path.relative_to(".").as_posix() for path in Path().rglob("*"))
    return [name for name in names if not name.startswith(("in.", "in/")) and name != "in"]


def write_recipe(data: Path, /, **tables: dict[str, Any]) -> Path:
    pytest.importorskip("torch")
    Path("in.toml").write_text(recipe.dumps(recipe.from_table(shapes_run.recipe_of(data, **tables), "the test")))
    return Path("in.toml")
