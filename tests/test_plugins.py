"""Plug-ins are found by their entry points, loaded when asked for, and wrong ones are named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeft.core.errors import InvalidInput, Missing, UsageError
from edgeft.plugins import Registry, builtin

pytestmark = pytest.mark.board

GROUP = "edgeft.test_things"
BUILTIN = {"path": "pathlib:Path"}


def registry() -> Registry[type]:
    return Registry(GROUP, "thing", "builtins:type", BUILTIN)


def install(folder: Path, distribution: str, entries: dict[str, str], modules: dict[str, str]) -> None:
    """A package as pip leaves it: modules, and a dist-info folder with its entry points."""
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    lines = "\n".join(f"{name} = {value}" for name, value in entries.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}\n")


def test_names_are_listed_without_importing_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "thing-one", {"extra": "thing_listed:Thing"}, {"thing_listed": "raise SystemExit('imported')"})
    monkeypatch.syspath_prepend(tmp_path)
    assert registry().names() == ("extra", "path")
    assert registry().package("extra") == "thing-one 1.2" and registry().package("path") == "edgeft"
    assert "thing_listed" not in sys.modules


def test_a_plug_in_is_loaded_and_takes_no_name_of_edgeft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"extra": "thing_loaded:Thing", "path": "thing_loaded:Thing"}
    install(tmp_path, "thing-one", entries, {"thing_loaded": "class Thing:\n    name = 'extra'\n"})
    monkeypatch.syspath_prepend(tmp_path)
    assert registry().get("extra").__name__ == "Thing"
    assert registry().get("path") is Path


def test_an_unknown_name_is_answered_with_the_nearest_plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "thing-one", {"extra": "thing_near:Thing"}, {})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="unknown thing 'extar'") as caught:
        registry().get("extar")
    assert caught.value.remedy == "did you mean 'extra'?"


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("raise RuntimeError('no licence')", Missing, "RuntimeError: no licence"),
        ("Other = 1", Missing, "AttributeError"),
        ("Thing = 1", InvalidInput, "as int, expected a record of the class type"),
        ("class Thing:\n    name = 'another'\n", InvalidInput, "whose record is called 'another'"),
    ],
)
def test_what_is_wrong_with_a_plug_in_is_said_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, error: type[Exception], words: str
) -> None:
    install(tmp_path, "thing-one", {"extra": "thing_wrong:Thing"}, {"thing_wrong": source})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "thing_wrong", raising=False)
    with pytest.raises(error, match=r"thing-one 1\.2") as caught:
        registry().get("extra")
    assert words in str(caught.value)


def test_two_packages_with_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in (1, 2):
        install(tmp_path, f"thing-{k}", {"extra": f"thing_{k}:Thing"}, {})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInput, match=r"thing-1 1\.2 and thing-2 1\.2"):
        registry().names()


def test_packages_and_modules_of_a_folder_are_records_by_their_names() -> None:
    tasks, formats = builtin("tasks", "TASK", packages=True), builtin("data.formats", "FORMAT", packages=False)
    assert tasks["text-classify"] == "edgeft.tasks.text_classify:TASK" and "record" not in tasks
    assert formats["image-folder"] == "edgeft.data.formats.image_folder:FORMAT"
