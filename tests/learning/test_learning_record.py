"""The record of a learning half: what a task has to bring, and what is refused."""

from __future__ import annotations

import dataclasses
import sys
import types

import pytest

torch = pytest.importorskip("torch", reason="learning halves are torch")

from edgeft import tasks  # noqa: E402
from edgeft.core.errors import InvalidInput, UsageError  # noqa: E402
from edgeft.learning import Learning  # noqa: E402

SEVERAL_GRAPHS, PADDED = {"speech", "translate"}, {"text-classify", "token-classify", "embed"}


@pytest.mark.parametrize("name", tasks.BUILTIN)
def test_every_task_has_a_frozen_record(name: str) -> None:
    learning = tasks.get(name).learning()
    assert isinstance(learning, Learning)
    with pytest.raises(dataclasses.FrozenInstanceError):
        learning.loss = None  # type: ignore[misc]
    assert (learning.parts is not None) == (learning.record is not None) == (name in SEVERAL_GRAPHS)
    assert (learning.trim is not None) == (learning.calibration is not None) == (name in PADDED)


def test_the_default_groups_are_those_of_the_recipes_rates() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    groups = tasks.get("control").learning().groups(module, "1", 1e-3, 1e-2)
    assert {group["name"]: group["lr"] for group in groups} == {
        "body": 1e-3, "body_plain": 1e-3, "head": 1e-2, "head_plain": 1e-2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": 3}, "`loss` is int, expected a function"),
        ({"predict": None}, "`predict` is NoneType, expected a function"),
        ({"trim": "padding"}, "`trim` is str, expected a function"),
        ({"parts": lambda module, spec: {}}, "`parts` and `record` belong together, and `record` is not set"),
    ],
)
def test_a_wrong_field_is_named_when_the_record_is_made(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        dataclasses.replace(tasks.get("classify").learning(), **changes)
    assert caught.value.message == message and caught.value.where == "Learning"


def test_a_module_without_the_record_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks.get("classify")
    module = types.ModuleType("half_a_task")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(InvalidInput, match="`LEARNING` of the task 'classify' is NoneType") as caught:
        dataclasses.replace(task, learning_module=module.__name__).learning()
    assert caught.value.where == "half_a_task"
    with pytest.raises(UsageError, match="nothing can be trained"):
        dataclasses.replace(task, learning_module="").learning()
