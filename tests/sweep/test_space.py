"""What is searched, in the forms that people write, and the mistakes that are answered before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeft.config import recipe
from edgeft.core.errors import InvalidInput, RecipeError, UsageError
from edgeft.sweep import space

BASE = recipe.from_table({"task": "classify"}, "the test")


def test_the_forms_of_a_setting() -> None:
    dimensions, plain = space.split(
        [
            "train.lr=loguniform(1e-5,1e-2)",
            "train.weight_decay = uniform( 0 , 0.1 )",
            "quantize.epochs=int(1, 5)",
            "train.batch_size=choice(8, 16)",
            'update.policy=choice(full, "head")',
            "train.epochs=3",
        ]
    )
    assert plain == ["train.epochs=3"]
    assert [(d.key, d.kind, d.ends()) for d in dimensions] == [
        ("train.lr", "loguniform", (1e-5, 1e-2)),
        ("train.weight_decay", "uniform", (0.0, 0.1)),
        ("quantize.epochs", "int", (1, 5)),
        ("train.batch_size", "choice", (8, 16)),
        ("update.policy", "choice", ("full", "head")),
    ]
    space.check(BASE, dimensions)
    assert space.from_table(space.as_table(dimensions)) == dimensions
    values = {"train.lr": 0.003, "train.weight_decay": 0.0, "quantize.epochs": 2, "train.batch_size": 8}
    changed = space.apply(BASE, dimensions, {**values, "update.policy": "head"})
    assert (changed.train.lr, changed.train.batch_size, changed.update.policy) == (0.003, 8, "head")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.lr=loguniform(0, 1)", "no logarithm at 0"),
        ("train.lr=loguniform(1e-2, 1e-5)", "a lower and a higher bound"),
        ("train.lr=loguniforms(1e-5, 1e-2)", "did you mean 'loguniform'"),
        ("train.lr=uniform(1)", "a lower and a higher bound"),
        ("train.lr=uniform(a, 2)", "'a' is no number"),
        ("train.lr=uniform(nan, 2)", "no number"),
        ("train.epochs=int(1.5, 3)", "no whole number"),
        ("train.batch_size=choice(8)", "two different values"),
        ("train.batch_size=choice(8, 8)", "two different values"),
        ("train.lrr=uniform(0.1, 1)", "did you mean 'lr'"),
        ("train.lr=uniform(0.1, 11)", "must be from 0 to 10"),
        ("train.epochs=uniform(1, 3)", "a whole number"),
        ("update.policy=choice(full, heads)", "did you mean 'head'"),
        ("data.path=choice(a, b)", "could not be compared"),
        ("model.name=int(1, 3)", "is a text"),
    ],
)
def test_mistakes_are_answered(setting: str, words: str) -> None:
    with pytest.raises((UsageError, InvalidInput)) as caught:
        dimensions, _ = space.split([setting])
        space.check(BASE, dimensions)
    assert words in str(caught.value), caught.value


def test_nothing_to_search_is_said() -> None:
    with pytest.raises(UsageError, match="nothing is searched"):
        space.check(BASE, [])
    dimensions, _ = space.split(["train.lr=uniform(0.1, 1)", "train.lr=uniform(0.1, 2)"])
    with pytest.raises(UsageError, match="two distributions"):
        space.check(BASE, dimensions)


def test_a_file_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text('"quantize.lr" = "loguniform(1e-6, 1e-3)"\n[train]\nlr = "uniform(0.1, 1)"\nbatch_size = [8, 16]\n')
    assert [(d.key, d.kind) for d in space.read(path)] == [
        ("quantize.lr", "loguniform"),
        ("train.lr", "uniform"),
        ("train.batch_size", "choice"),
    ]
    path.write_text("[train]\nlr = 0.1\n")
    with pytest.raises(RecipeError, match=r"space\.toml:2"):
        space.read(path)
    path.write_text('[train]\nlr = "uniformm(0.1, 1)"\n')
    with pytest.raises(UsageError, match="uniform"):
        space.read(path)


def test_the_number_of_different_trials() -> None:
    dimensions, _ = space.split(["train.batch_size=choice(8, 16)", "train.epochs=int(1, 3)"])
    assert space.count(dimensions) == 6
    dimensions, _ = space.split(["train.batch_size=choice(8, 16)", "train.lr=uniform(0.1, 1)"])
    assert space.count(dimensions) == float("inf")
