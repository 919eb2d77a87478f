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
