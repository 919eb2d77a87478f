"""When training counts as diverging, and what is left of an attempt that does."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from edgeft.config.recipe import Gates
from edgeft.core.metric import Metric
from edgeft.tune.fit import Fitted, Stage, fit
from edgeft.tune.retries import diverges, retried, why_none

ACCURACY = Metric("accuracy", "fraction", max_drop=0.01)
ERROR = Metric("error", "cm", higher_is_better=False, max_drop_relative=0.1)


@pytest.mark.parametrize(
    "metric, gates, samples, before, after, expected",
    [
        (ACCURACY, Gates(), 1000, 0.90, 0.895, False),
        (ACCURACY, Gates(), 1000, 0.90, 0.88, True),
        (ACCURACY, Gates(), 24, 0.75, 0.625, False),  # three samples may be chance
        (ACCURACY, Gates(), 24, 0.75, 0.5, True),
        (ACCURACY, Gates(max_drop=0.05), 1000, 0.90, 0.88, False),
        (ACCURACY, Gates(), 1000, 0.90, 0.95, False),
        (ERROR, Gates(), 1000, 2.0, 2.1, False),
        (ERROR, Gates(), 1000, 2.0, 2.3, True),
        (ERROR, Gates(), 1000, 2.0, math.nan, True),
    ],
)
def test_what_counts_as_diverging(
    metric: Metric, gates: Gates, samples: int, before: float, after: float, expected: bool
) -> None:
    assert diverges(metric, gates, samples)(before, after) is expected


class Line:
    """Least squares of y = 3 x by plain SGD, whose curvature is 2: rates above 1 diverge."""

    def __init__(self, folder: Path) -> None:
        self.module, self.folder = nn.Linear(1, 1, bias=False), folder
        nn.init.constant_(self.module.weight, 2.0)
        self.x = torch.ones(8, 1)
        self.said: list[str] = []

    def train(self, lr: float, attempt: int) -> Fitted:
        groups = [{"params": list(self.module.parameters()), "lr": lr}]
        stage = Stage(
            "line", 3, groups, "constant", "sgd", metric=ERROR, diverges=diverges(ERROR, Gates(max_drop=0.1), 8)
        )
        return fit(
            self.module,
            stage,
            batches=lambda _epoch: [self.x] * 4,
            loss_of=lambda model, x: (model(x) - 3 * x).pow(2).mean(),
            validate=lambda: float((self.module.weight.detach() - 3).abs()),
            accelerator=Accelerator(),
            state_file=self.folder / f"line.{attempt}.pt",
        )


def test_the_attempt_that_learns_begins_where_the_first_one_began(tmp_path: Path) -> None:
    line = Line(tmp_path)
    result = retried(line.module, 50.0, line.train, ERROR, line.said.append)
    assert result.fitted is not None and not result.fitted.diverged and result.lr == 0.5
    assert [row["lr"] for row in result.diverged] == [50.0, 5.0]
    assert result.fitted.rows[0]["validation"] == 1.0 and abs(line.module.weight.item() - 3) < 0.5
    assert line.said[0].startswith("QAT diverged: at lr = 50 the error on the validation split was ")
    assert line.said[0].endswith(" as calibrated; it begins again at lr = 5") and len(line.said) == 2


def test_a_loss_that_is_not_finite_leaves_the_weights_as_they_were(tmp_path: Path) -> None:
    line = Line(tmp_path)
    result = retried(line.module, 1e38, line.train, ERROR, line.said.append)
    assert result.fitted is None and line.module.weight.item() == 2.0
    assert result.diverged[0] == {"lr": 1e38, "validation": None, "why": "at lr = 1e+38 the loss was not finite"}
    assert len(result.diverged) == 3 and why_none(result.diverged).count("not finite") == 3


def test_an_epoch_without_a_metric_is_not_the_best(tmp_path: Path) -> None:
    line = Line(tmp_path)
    scores = iter([1.0, 0.5, math.nan, 0.7])
    fitted = fit(
        line.module,
        Stage("line", 3, [{"params": list(line.module.parameters()), "lr": 0.01}], metric=ERROR),
        batches=lambda _epoch: [line.x],
        loss_of=lambda model, x: (model(x) - 3 * x).pow(2).mean(),
        validate=lambda: next(scores),
        accelerator=Accelerator(),
        state_file=tmp_path / "line.pt",
    )
    assert fitted.best_epoch == 1 and fitted.best == 0.5
