"""Documentation and messages hold no phrase that scripts/retired_phrases.txt retires."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture(scope="module")
def prose() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prose", SCRIPTS / "prose.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_retired_phrase_is_left(prose: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert prose.main([]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("One line.\nThere is nothing to object to.\n", 2),
        ("There is Nothing\nto object to.\n", 1),
        ('say(\n    "there is nothing to "\n    f"object to"\n)\n', 2),
        ("#: there is nothing\n#: to object to\n", 1),
    ],
)
def test_a_retired_phrase_is_reported_with_its_line(prose: ModuleType, text: str, line: int) -> None:
    assert list(prose.findings(text, {"nothing to object to": ""})) == [(line, "nothing to object to")]


def test_the_glossary_may_name_retired_phrases(prose: ModuleType) -> None:
    text = "<!-- prose: off -->\n| held back | held out |\n<!-- prose: on -->\nheld back\n"
    assert list(prose.findings(text, {"held back": "held out"})) == [(4, "held back")]


def test_each_retired_phrase_has_a_replacement(prose: ModuleType) -> None:
    retired = prose.phrases((SCRIPTS / "retired_phrases.txt").read_text(encoding="utf-8"))
    assert len(retired) > 15 and all(retired.values())
