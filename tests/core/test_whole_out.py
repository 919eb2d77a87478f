"""A folder that a command writes stands there whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeft.core import files
from edgeft.core.errors import SystemFailure, UsageError


def written(path: Path, *, overwrite: bool = False, fail: BaseException | None = None) -> None:
    with files.whole_out(path, overwrite=overwrite) as folder:
        (folder / "a.txt").write_text("new")
        (folder / "inner").mkdir()
        (folder / "inner" / "b.txt").write_text("new")
        if fail is not None:
            raise fail


def names(path: Path) -> list[str]:
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*"))


@pytest.mark.parametrize("there", [False, True])
def test_all_of_it_moves_into_place(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "out").mkdir()
    written(tmp_path / "out")
    assert names(tmp_path) == ["out", "out/a.txt", "out/inner", "out/inner/b.txt"]


@pytest.mark.parametrize(
    ("error", "seen"),
    [(OSError(28, "No space left on device"), SystemFailure), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_nothing_is_left_of_a_failure(tmp_path: Path, error: BaseException, seen: type[BaseException]) -> None:
    with pytest.raises(seen):
        written(tmp_path / "out", fail=error)
    assert names(tmp_path) == []


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError):
        written(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, overwrite=True, fail=KeyboardInterrupt())
    assert names(tmp_path) == ["a.txt", "mine.txt"] and (tmp_path / "a.txt").read_text() == "old"
    written(tmp_path, overwrite=True)
    assert (tmp_path / "a.txt").read_text() == "new" and (tmp_path / "mine.txt").read_text() == "mine"
