"""What Windows and macOS lack is hidden from a process (`other_system`): the board half imports, and its commands work.

Processes that edgeft starts itself are isolated and see all of this system, so that these are not covered.
"""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle

import edgeft

HERE = Path(__file__).parent
#: the rooms of the board half, and what generated programs are joined from
ROOMS = (
    "bundle",
    "cli",
    "core",
    "config",
    "devices",
    "inputs",
    "measure",
    "metrics",
    "verify",
    "personalize",
    "report",
)
MODULES = ("predict", "doctor", "gate", "api", "adopt", "streams")
PARTS = ("run_", "exporter", "loader", "learning", "parts")
BUNDLE = HERE / "fixtures/0.1.0/host"


def without_posix(*argv: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, argv)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE / "other_system"), str(HERE.parent)])},
    )


def board_modules() -> list[str]:
    modules = [found.name for found in pkgutil.walk_packages(edgeft.__path__, "edgeft.", onerror=lambda name: None)]
    board = [name for name in modules if name.split(".")[1] in (*ROOMS, *MODULES)]
    return [name for name in board if not any(piece.startswith(PARTS) for piece in name.split(".")[1:])]


def test_every_module_of_the_board_half_is_imported(tmp_path: Path) -> None:
    script = f"""
import importlib, json, sys
assert sys.modules["fcntl"] is None and sys.modules["resource"] is None
broken = []
for name in {board_modules()!r}:
    try:
        importlib.import_module(name)
    except Exception as error:
        broken.append([name, repr(error)])
print(json.dumps(broken))
"""
    done = without_posix("-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    broken = [(name, why) for name, why in json.loads(done.stdout.splitlines()[-1]) if "torch" not in why]
    assert broken == []


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["doctor"],
        ["targets", "list"],
        ["init", "classify", "--out", "recipe.toml"],
        ["verify", BUNDLE],
        ["bench", BUNDLE],
        ["report", BUNDLE, "--out", "page.html"],
    ],
)
def test_commands_work(argv: list[object], tmp_path: Path) -> None:
    done = without_posix("-m", "edgeft", *argv, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    json.loads(done.stdout)


def test_a_bundle_predicts(tmp_path: Path) -> None:
    np.save(tmp_path / "gray.npy", tiny_bundle.pixels(128))
    done = without_posix("-m", "edgeft", "predict", tiny_bundle.build(tmp_path), "gray.npy", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["predictions"][0]["label"]
