"""The tree of errors: drawn in the docstring, kept by this test."""

from __future__ import annotations

import copy
import json
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeft.core import errors, installation
from edgeft.core.errors import EdgeftError, InvalidInput, Missing, RecipeError


def every(kind: type[EdgeftError] = EdgeftError) -> list[type[EdgeftError]]:
    mine = [sub for sub in kind.__subclasses__() if sub.__module__ == errors.__name__]
    return [kind, *(deeper for sub in mine for deeper in every(sub))]


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = re.findall(r"^    ([│ ]*)[├└]── (\w+)(?: +(\d+))?", errors.__doc__ or "", re.MULTILINE)
    assert {name for _, name, _ in drawn} == {kind.__name__ for kind in every()} - {"EdgeftError"}
    above = [EdgeftError]  # the class on each level over the current one
    for indent, name, code in drawn:
        kind = getattr(errors, name)
        above = above[: len(indent) // 4 + 1]
        assert kind.__bases__ == (above[-1],)
        above.append(kind)
        assert kind.exit_code == (int(code) if code else 3)


def test_exit_codes() -> None:
    codes = {kind.__name__: kind.exit_code for kind in every()}
    assert codes["UsageError"] == 2
    assert {codes[name] for name in ("RecipeError", "TargetError", "DataError", "ModelError", "BundleError")} == {3}
    assert (codes["Missing"], codes["SystemFailure"], codes["InternalError"]) == (4, 6, 70)


def test_what_a_person_and_what_json_sees() -> None:
    error = RecipeError("unknown key 'epoch'", where="recipe.toml:3", remedy="did you mean 'epochs'?")
    assert str(error) == "recipe.toml:3: unknown key 'epoch'\n  → did you mean 'epochs'?"
    assert str(RecipeError("plain")) == "plain"
    assert error.as_dict() == {
        "error": "RecipeError",
        "message": "unknown key 'epoch'",
        "where": "recipe.toml:3",
        "remedy": "did you mean 'epochs'?",
        "exit_code": 3,
    }


@pytest.mark.parametrize("kind", every())
def test_errors_survive_copying_and_a_worker_process(kind: type[EdgeftError]) -> None:
    error = kind("m", where="w", remedy="r")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301  (our own bytes)
        assert type(again) is kind
        assert again.as_dict() == error.as_dict()


def test_nearest() -> None:
    assert errors.nearest("epoch", ["epochs", "lr"]) == "did you mean 'epochs'?"
    assert errors.nearest("RPI5", ["rpi5", "rpi4"]) == "did you mean 'rpi5'?"
    assert errors.nearest("zzz", ["b", "a"]) == "known: a, b"
    hundreds = errors.nearest("zzz", [f"name{i}" for i in range(300)])
    assert hundreds.startswith("known: 300 names, of which the nearest are name") and len(hundreds) < 200


@given(st.lists(st.text(min_size=1), min_size=1, unique_by=str.lower))
def test_nearest_of_a_known_word_is_itself(known: list[str]) -> None:
    assert errors.nearest(known[0], known) == f"did you mean {known[0]!r}?"


def test_need_imports_or_names_the_command() -> None:
    assert errors.need("json.decoder", "x").__name__ == "json.decoder"
    with pytest.raises(Missing) as caught:
        errors.need("no_such_package.inner", "litert")
    assert caught.value.exit_code == 4
    assert caught.value.remedy == installation.command("litert")
    assert "'no_such_package'" in caught.value.message


@pytest.mark.parametrize("kind", every())
def test_an_error_that_crosses_a_process_has_its_class_place_and_remedy(kind: type[EdgeftError]) -> None:
    error = kind("no such layer", where="model.onnx", remedy="name another one")
    back = errors.from_dict(json.loads(json.dumps(error.as_dict())))
    assert type(back) is kind and back.as_dict() == error.as_dict()


def test_an_error_of_a_class_that_is_not_known_here_keeps_its_exit_code() -> None:
    class Later(InvalidInput):
        pass

    back = errors.from_dict(Later("odd", where="x").as_dict())
    assert type(back) is InvalidInput and (back.message, back.where) == ("odd", "x")
    for table in (
        None,
        [],
        {},
        {"error": "KINDS", "message": 3},
        {"error": "nearest", "message": "m", "exit_code": []},
    ):
        assert errors.from_dict(table).exit_code == 70
