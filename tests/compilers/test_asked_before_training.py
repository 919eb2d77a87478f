"""`edgeft targets check` asks the compiler of the board, through a package that stands in for a vendor's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import shapes_run
import stand_in

import edgeft
from edgeft.cli import words
from edgeft.cli.entry import run as main
from edgeft.compilers import compilation
from edgeft.config import target
from edgeft.devices import known


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return stand_in.environment(tmp_path_factory.mktemp("asked")).python


@pytest.fixture
def packaged(nothing_set_up: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stand_in.package(nothing_set_up / "site")
    monkeypatch.syspath_prepend(nothing_set_up / "site")
    return nothing_set_up


def set_up(python: str, changes: Mapping[str, Any] | None = None) -> None:
    record = {"python": python, "version": "1.0", "requirements": ["badly==1.0"]}
    known.write("compile:badly", {**record, **(changes or {})})


def test_what_falls_off_the_accelerator_is_named_before_training(packaged: Path, python: str, small: Path):
    recipe, board = shapes_run.recipe_of(small), str(stand_in.profile(packaged, "leave"))
    unasked = edgeft.check(board, recipe)
    assert not unasked["refused"] and unasked["compiler"] is None
    assert (unasked["unverified"], unasked["remedy"]) == (["badly"], "edgeft device setup compile:badly")
    assert "unverified: the compiler badly was not asked → edgeft device setup compile:badly" in words.objections(
        unasked
    )

    set_up(python)
    asked = edgeft.check(board, recipe)
    named = {(item["severity"], item["op"]): item["why"] for item in asked["objections"]}
    assert named["warn", "Conv"] == "Badly 1.0 leaves 1 x Conv to the CPU, first 'fused_1' (no kernel)"
    assert "of the multiply-accumulates on the accelerator, 95% asked, not Conv" in named["refuse", "coverage"]
    assert asked["refused"] and asked["unverified"] == [] and 0.5 < asked["compiler"]["coverage_macs"] < 0.95
    assert "badly 1.0: on the accelerator (" in words.objections(asked)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"python": "/nowhere/python"}, "does not exist"), ({"requirements": ["badly==0.9"]}, "this edgeft knows 1.0")],
)
def test_a_damaged_environment_ends_the_check(
    packaged: Path, python: str, small: Path, capfd: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
):
    set_up(python, changes)
    recipe = packaged / "recipe.toml"
    recipe.write_text(f'name = "s"\n[model]\nname = "resnet8"\n[data]\nformat = "npz"\npath = "{small}"\n')
    assert main(["targets", "check", str(stand_in.profile(packaged, "accept")), str(recipe)]) == 4
    error = capfd.readouterr().err
    assert message in error and "edgeft device setup compile:badly" in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"version": "1.0"', '"version": "9.9"', "Badly 9.9 is installed, this edgeft knows 1.0"),
        ("import os,", "import a_part_that_is_not_there, os,", "No module named 'a_part_that_is_not_there'"),
        ("version(job):", "version(job):\n    os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal SIGSEGV"),
    ],
)
def test_an_environment_that_is_half_there_is_missing(
    packaged: Path, python: str, capfd: pytest.CaptureFixture[str], before: str, after: str, message: str
):
    module = next(Path(python).parents[1].glob("lib/python*/site-packages/badly_behaved.py"))
    module.write_text(stand_in.MODULE.replace(before, after, 1))
    set_up(python)
    try:
        assert main(["device", "check", "compile:badly"]) == 4
    finally:
        module.write_text(stand_in.MODULE)

    error = capfd.readouterr().err
    assert message in error and "edgeft device setup compile:badly" in error and "Traceback" not in error


def test_a_compiler_that_hangs_refuses_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    slow = stand_in.environment(tmp_path, seconds=2.0)
    monkeypatch.setenv("BADLY_PID", str(tmp_path / "pid"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    artifact = tmp_path / "model.onnx"
    artifact.write_bytes(b"")
    profile = target.load(str(stand_in.profile(tmp_path, "hang")))
    made, on_cpu = compilation.asked(slow, profile, artifact, tmp_path / "made")
    assert not made.accepted and "did not end within 2 s and was stopped" in str(made.refusal) and not on_cpu
    assert not (tmp_path / "made").exists() and not list(tmp_path.glob("edgeft-*"))
