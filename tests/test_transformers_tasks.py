"""Every task that takes models of the package transformers has a quick test from tune to a verified bundle with one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from edgeft.plugins import TASKS

TESTS = {
    "classify": "test_transformers_end_to_end.py::test_the_bundle_is_verified",
    "detect": "test_set_detectors_end_to_end.py::test_the_bundle_is_verified",
    "embed": "test_embed_end_to_end.py::test_the_bundle_is_verified",
    "keyword": "test_waveform_end_to_end.py::test_the_bundle_is_verified",
    "segment": "test_transformers_end_to_end.py::test_a_segmenter_becomes_a_verified_bundle",
    "speech": "test_letters_end_to_end.py::test_the_bundle_is_verified_and_has_the_letters_of_the_folder",
    "text-classify": "test_text_end_to_end.py::test_the_artifact_is_the_graph",
    "token-classify": "test_token_classify_end_to_end.py::test_the_bundle_is_verified",
    "translate": "test_translators_end_to_end.py::test_the_bundle_is_verified",
}


def test_each_is_named_here() -> None:
    assert set(TESTS) == {name for name in TASKS.builtin if TASKS.get(name).auto_class}


@pytest.mark.parametrize("task", TESTS)
def test_it_is_in_the_default_suite(task: str) -> None:
    file, _, name = TESTS[task].partition("::")
    tree = ast.parse((Path(__file__).parent / file).read_text())
    (function,) = (part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == name)
    whole = [ast.unparse(part) for part in tree.body if isinstance(part, ast.Assign)]
    marks = [*map(ast.unparse, function.decorator_list), *(line for line in whole if line.startswith("pytestmark"))]
    assert not [mark for mark in marks if "slow" in mark], "the whole test is left out of the default suite"
    assert not [line for line in whole if line.startswith("TARGETS") and ".quick()" in line], "no target is in it"
