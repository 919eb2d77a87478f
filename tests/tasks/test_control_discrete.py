"""Recorded choices: classes from the file to the action that an environment takes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cartpole
import numpy as np
import pytest

from edgeft import data, tasks
from edgeft.config.recipe import Data
from edgeft.core.errors import DataError
from edgeft.data.understand import understand

TASK = tasks.get("control-discrete")


def recorded(path: Path, acts: np.ndarray, **settings: Any) -> data.Dataset:
    np.savez(
        path,
        obs=np.random.default_rng(0).normal(size=(len(acts), 3)),
        acts=acts,
        episode_starts=np.arange(len(acts)) % 10 == 0,
    )
    return data.open(Data(format="trajectories", path=str(path), **{"actions": "discrete", **settings}), TASK.name)


@pytest.mark.parametrize("kind", ["int64", "uint8", "float32"])
@pytest.mark.parametrize("column", [False, True])
def test_whole_numbers_are_classes_of_their_own(tmp_path: Path, kind: str, column: bool) -> None:
    acts = (np.arange(120) % 3).astype(kind)
    made = recorded(tmp_path / "d.npz", acts[:, None] if column else acts)
    assert made.labels == ("0", "1", "2") and made.split("train").targets.dtype == np.int64
    assert sorted(np.concatenate([made.split(n).targets for n in made.splits])) == sorted(np.arange(120) % 3)
    # the same reading of data that a bundle is verified with
    again = data.source(tmp_path / "d.npz", {"format": "trajectories", "actions": "discrete"})
    assert data.open(again).split("train").classes is not None


@pytest.mark.parametrize(
    ("acts", "words"),
    [
        (np.array([0, 1, 1.5] * 20), r"is 1.5, expected the number of a choice"),
        (np.array([0, -1, 1] * 20), r"is -1, expected the number"),
        (np.array([0, 5000] * 30), r"is 5000, expected the number"),
        (np.zeros((60, 2), int), r"has 2 actions a step"),
        (np.array([0, 2] * 30), r"no sample of '1'"),
        (np.zeros(60, int), r"only one class"),
    ],
)
def test_what_is_no_choice_is_named(tmp_path: Path, acts: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        recorded(tmp_path / "d.npz", acts)


def test_each_of_both_tasks_refuses_the_actions_of_the_other_one(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    choices = recorded(tmp_path / "d.npz", np.arange(120) % 3)
    with pytest.raises(DataError, match="numbers of choices") as caught:
        tasks.get("control").learning().outputs(choices)
    assert 'task = "control-discrete"' in caught.value.remedy
    quantities = recorded(tmp_path / "q.npz", np.linspace(0, 1, 120), actions="auto")
    with pytest.raises(DataError, match="are quantities") as caught:
        TASK.learning().outputs(quantities)
    assert 'data.actions = "discrete"' in caught.value.remedy and TASK.learning().outputs(choices) == 3


def test_the_type_of_recorded_actions_tells_the_task(tmp_path: Path) -> None:
    found = understand(cartpole.write_rollouts(tmp_path / "d.npz", 4))
    assert found.task == "control-discrete" and found.data.actions == "discrete"
    np.savez(tmp_path / "q.npz", obs=np.zeros((9, 2)), acts=np.zeros(9, np.float32))
    assert understand(tmp_path / "q.npz").task == "control"


def test_the_highest_logit_acts_and_another_space_is_refused() -> None:
    assert TASK.action is not None
    logits = {"y": np.array([[0.1, 2.0, -1.0]], np.float32)}
    assert TASK.action(logits, SimpleNamespace(n=3, start=5)) == 6
    for space in (SimpleNamespace(n=2, start=0), SimpleNamespace(shape=(3,))):
        with pytest.raises(DataError, match="3 choices"):
            TASK.action(logits, space)
    with pytest.raises(DataError, match="not finite"):
        TASK.action({"y": np.array([[np.nan, 1, 0]])}, SimpleNamespace(n=3, start=0))
