"""A policy's zip to bundles without training: observations from its own environment, and the return as a gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import end_to_end
import numpy as np
import pytest
import sb3_policies

pytestmark = pytest.mark.slow  # what its nets share with others is in the quick tests

end_to_end.need("gymnasium")

import edgeft  # noqa: E402
from edgeft import data  # noqa: E402
from edgeft.config.recipe import Data, from_table  # noqa: E402
from edgeft.core.errors import DataError, RecipeError  # noqa: E402

TARGETS = ("host", "host-openvino", "host-litert")


def recipe(path: Path, environment: str, **data_keys: Any) -> dict[str, Any]:
    return {
        "task": "control",
        "name": "policy",
        "model": {"source": "sb3", "name": str(path)},
        "data": {"format": "environment", "environment": environment, "episodes": 10, **data_keys},
        "train": {"epochs": 0},
        "quantize": {"method": "ptq"},
        "export": {"targets": list(TARGETS)},
        "gates": {"min_speedup": 0, "environment": environment, "episodes": 10},
    }


def gate(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(g for g in report["gates"] if g["name"] == name)


def judged(folder: Path, path: Path, environment: str) -> list[dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    edgeft.tune(recipe(path, environment), folder / "run")
    return edgeft.export(folder / "run", out=folder / "bundles")


def test_cartpole_keeps_its_return_in_every_runtime(tmp_path: Path) -> None:
    for report in judged(tmp_path, sb3_policies.balancing(tmp_path / "p.zip"), "CartPole-v1"):
        loop = gate(report, "return")
        assert loop["verdict"] == "pass" and loop["required"] and loop["float"] > 450, loop["why"]
        assert report["verdict"] == "pass" and report["unverified"] == [] and report["int8_share"] == 1.0
        accuracy = gate(report, "accuracy")
        assert accuracy["verdict"] == "advisory" and "return of the closed loop decides" in accuracy["why"]


@pytest.mark.slow
def test_pendulum_keeps_its_return_in_every_runtime(tmp_path: Path) -> None:
    for report in judged(tmp_path, sb3_policies.swinging(tmp_path / "p.zip"), "Pendulum-v1"):
        loop = gate(report, "return")
        assert loop["verdict"] == "pass" and loop["float"] > -250, loop["why"]
        assert report["verdict"] == "pass"


def opened(**keys: Any) -> data.Dataset:
    table = {"task": "control", "data": {"format": "environment", **keys}}
    return data.open(from_table(table, "test").data, "control")


def test_observations_are_those_of_the_environment_and_the_same_ones_again() -> None:
    first, second = opened(environment="Pendulum-v1"), opened(environment="Pendulum-v1")
    assert first.labels == ("action_0",) and first.facts["inputs"] == 3 and first.unlabelled
    rows = np.stack([first.split("train").raw(i) for i in range(len(first.split("train")))])
    assert rows.shape == (6 * 200, 3) and abs(rows[:, 0] ** 2 + rows[:, 1] ** 2 - 1).max() < 1e-5
    assert (rows == np.stack([second.split("train").raw(i) for i in range(len(rows))])).all()
    assert opened(environment="CartPole-v1").labels == ("choice_0", "choice_1")
    with pytest.raises(DataError, match=r"data\.environment: gymnasium has no environment 'Pendulam-v1'"):
        opened(environment="Pendulam-v1")
    with pytest.raises(DataError, match="is empty"):
        opened()
    with pytest.raises(DataError, match="rows of numbers"):
        opened(environment="FrozenLake-v1")


def test_what_the_policy_sees_takes_the_place_of_random_observations(tmp_path: Path) -> None:
    from edgeft.session.session import open_session

    table = recipe(sb3_policies.balancing(tmp_path / "p.zip"), "CartPole-v1", most_steps=50)
    session = open_session(from_table(table, "test"))
    test = session.dataset.split("test")
    assert len(test) == 3 * 50  # three episodes, which random actions end after twenty steps
    assert test.targets.shape == (150, 2)
    import torch

    (feed,) = session.task.preprocess(test.raw(7), session.spec).values()
    with torch.no_grad():
        assert np.allclose(session.built.module(torch.from_numpy(feed)).numpy(), test.targets[7], atol=1e-5)


def test_columns_are_scaled_by_what_the_policy_sees(tmp_path: Path) -> None:
    """Random actions leave the cart where it begins; a policy that lets it roll sees positions thirty times as far, and
    on a grid for those the angle would have a few steps."""
    from edgeft.session.session import open_session

    table = recipe(sb3_policies.balancing(tmp_path / "p.zip"), "CartPole-v1", most_steps=200)
    session = open_session(from_table(table, "test"))
    train = session.dataset.split("train")
    rows = np.stack([train.raw(i) for i in range(len(train))])
    assert np.allclose(session.spec["mean"], rows.mean(axis=0)) and np.allclose(session.spec["std"], rows.std(axis=0))
    random = opened(environment="CartPole-v1").facts["std"]
    assert not np.allclose(rows.std(axis=0), random, rtol=0.2), "the policy goes elsewhere than random actions do"
    import torch

    (feed,) = session.task.preprocess(train.raw(7), session.spec).values()
    with torch.no_grad():
        assert np.allclose(session.built.module(torch.from_numpy(feed)).numpy(), train.targets[7], atol=1e-5)


def test_what_cannot_be_learned_from_observations_is_refused(tmp_path: Path) -> None:
    path = sb3_policies.balancing(tmp_path / "p.zip")
    with pytest.raises(RecipeError, match="no labels"):
        edgeft.tune({**recipe(path, "CartPole-v1"), "train": {"epochs": 1}}, tmp_path / "run")
    with pytest.raises(DataError, match="figures of its own"):
        swing = sb3_policies.swinging(tmp_path / "q.zip", steps=1)
        edgeft.tune(recipe(swing, "Pendulum-v1", mean=[0.0] * 3, std=[1.0] * 3), tmp_path / "run")
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())


def test_the_format_is_known_by_its_keys() -> None:
    assert Data(format="environment")  # the record is found by its file's name
    with pytest.raises(RecipeError, match="environments"):
        from_table({"task": "control", "data": {"format": "environment", "environments": "Pendulum-v1"}}, "test")
