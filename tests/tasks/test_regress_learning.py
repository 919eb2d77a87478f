"""What a model of any outputs is trained on: known values, each output in units of its spread."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgeft.core.errors import DataError  # noqa: E402
from edgeft.tasks.regress import learning  # noqa: E402

TARGETS = np.array([[0.0, np.nan, 10.0], [2.0, np.nan, 30.0]], np.float32)


def test_the_loss_is_in_units_of_each_output() -> None:
    batch = learning.Scaled(TARGETS)(list(TARGETS))
    assert batch.shape == (2, 2, 3) and batch[:, 1].tolist() == [[1.0, 0.0, 10.0]] * 2
    outputs = {"a": torch.tensor([[[1.0, 5.0]], [[2.0, 7.0]]]), "b": torch.tensor([[10.0], [25.0]])}
    # the first output's unit is the mean square of (1, 0): 0.5; of the unknown values nothing counts
    expected = ((1.0 / 0.5) + 0.0 + 0.0 + (25.0 / 100.0)) / 4
    assert learning.loss(outputs, batch).item() == pytest.approx(expected)
    same = {"a": torch.tensor([[[0.0, 5.0]], [[2.0, 7.0]]]), "b": torch.tensor([[10.0], [30.0]])}
    assert learning.loss(same, batch).item() == 0.0


def test_an_unknown_value_gives_no_gradient() -> None:
    batch = learning.Scaled(TARGETS)(list(TARGETS))
    outputs = torch.zeros(2, 3, requires_grad=True)
    learning.loss(outputs, batch).backward()
    assert torch.isfinite(outputs.grad).all() and (outputs.grad[:, 1] == 0).all() and outputs.grad.abs().sum() > 0


def test_a_teacher_is_imitated_where_targets_are_not_known_too() -> None:
    batch = learning.Scaled(TARGETS)(list(TARGETS))
    student, teacher = torch.zeros(2, 3), torch.full((2, 3), 2.0)
    assert learning.distill(student, teacher, batch, weight=1.0).item() > 0
    mixed = learning.distill(student, teacher, batch, weight=0.25)
    parts = learning.distill(student, teacher, batch, weight=1.0), learning.loss(student, batch)
    assert mixed.item() == pytest.approx(0.25 * parts[0].item() + 0.75 * parts[1].item())


def test_another_number_of_values_is_named() -> None:
    batch = learning.Scaled(TARGETS)(list(TARGETS))
    with pytest.raises(DataError, match="gives 4 values a sample, and a target has 3"):
        learning.loss(torch.zeros(2, 2, 2), batch)
