"""Runs are named after the recipe and the time, and the latest finished one is found again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeft.config import places
from edgeft.core.errors import RunError, UsageError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_new_run_never_meets_an_old_one() -> None:
    first = places.new_run("blood cells", now=0)
    assert first.parent == Path("runs") and first.name.startswith("blood-cells-")
    assert not first.exists()
    first.mkdir(parents=True)
    second = places.new_run("blood cells", now=0)
    assert second.name == f"{first.name}-2"


def test_the_latest_run_is_the_one_that_finished_last() -> None:
    with pytest.raises(RunError, match="no run here"):
        places.latest_run()
    for age, name in ((300, "b"), (100, "a"), (200, "c")):
        folder = Path("runs", name)
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text("{}")
        os.utime(folder / "summary.json", (10_000 - age, 10_000 - age))
    Path("runs/unfinished").mkdir()
    Path("runs/unfinished/recipe.toml").write_text("")
    assert places.latest_run() == Path("runs/a")


def test_an_interrupted_run_is_named() -> None:
    Path("runs/unfinished").mkdir(parents=True)
    Path("runs/unfinished/recipe.toml").write_text("")
    with pytest.raises(RunError) as caught:
        places.latest_run()
    assert caught.value.remedy == "edgeft tune --resume runs/unfinished"


def test_a_file_is_not_written_over_unasked() -> None:
    path = Path("report.html")
    assert places.claim_file(path, overwrite=False) == path
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        places.claim_file(path, overwrite=False)
    assert places.claim_file(path, overwrite=True) == path
    with pytest.raises(UsageError, match="folder"):
        places.claim_file(Path(), overwrite=True)
