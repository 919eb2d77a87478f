"""Records of tasks: the only place that names a task of edgeft, and what the rest of edgeft asks."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import edgeft
from edgeft import data, tasks
from edgeft.config import recipe, starting_recipes
from edgeft.core.errors import DataError, UsageError
from edgeft.devices import packages
from edgeft.plugins import DATA_FORMATS

PACKAGE = Path(edgeft.__file__).parent
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def named_elsewhere(source: str, package: str = "") -> list[str]:
    """The string constants of a module, docstrings left out, that are names of other tasks than that of `package`."""
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, _WITH_DOCSTRING) and node.body and isinstance(node.body[0], ast.Expr)
    }
    texts = [n.value for n in nodes if isinstance(n, ast.Constant) and id(n) not in docstrings]
    return [text for text in texts if text in tasks.BUILTIN and text != package.replace("_", "-")]


@pytest.mark.board
def test_no_module_outside_its_package_names_a_task() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 200 and {"classify", "control", "text-classify", "translate"} <= set(tasks.BUILTIN)
    for path in modules:
        room, *inner = path.relative_to(PACKAGE).parts
        package = inner[0] if room == "tasks" and len(inner) > 1 else ""
        assert not named_elsewhere(path.read_text(encoding="utf-8"), package), path


@pytest.mark.board
def test_a_comparison_with_a_name_is_noticed() -> None:
    assert named_elsewhere('kind = "pairs" if task == "translate" else ""') == ["translate"]
    assert named_elsewhere('def f(task="classify"):\n    """classify"""') == ["classify"]
    assert named_elsewhere('TABLE = {"control": 1}', "keyword") == ["control"]
    assert not named_elsewhere('"""speech"""\nNAME = "text-classify"', "text_classify")


@pytest.mark.board
def test_exactly_one_task_is_the_default_of_recipes() -> None:
    assert [name for name in tasks.BUILTIN if tasks.get(name).default] == [recipe.Recipe().task]
    assert starting_recipes.template() == starting_recipes.template(recipe.Recipe().task)


@pytest.mark.board
@pytest.mark.parametrize("name", tasks.BUILTIN)
def test_every_task_lists_formats_that_exist_and_they_list_it(name: str) -> None:
    formats = tasks.get(name).formats
    assert formats
    for form in formats:
        assert name in data.tasks_of(DATA_FORMATS.get(form))


@pytest.mark.board
def test_packages_of_an_extra_are_those_of_the_tasks_that_need_it() -> None:
    assert packages.extras() == {
        "audio": ("soundfile",),
        "text": ("tokenizers",),
        "translate": ("tokenizers", "sacrebleu"),
        "detect": ("pycocotools",),
    }
    with pytest.raises(UsageError, match="'audoi' is not an extra") as caught:
        packages.for_runtime(["onnxruntime"], ["audoi"])
    assert caught.value.remedy == "did you mean 'audio'?"


@pytest.mark.parametrize("name", ["classify", "segment"])
def test_the_remedy_for_an_unknown_label_is_one_sentence(name: str) -> None:
    with pytest.raises(DataError) as failure:
        tasks.get(name).join(np.zeros(1, np.int64), ["zebra"], ["cat", "dog"], "data")
    assert str(failure.value.remedy).endswith("; known: cat, dog")
