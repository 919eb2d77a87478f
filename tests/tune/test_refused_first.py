"""What a run cannot end well with is said before anything is trained, by `tune` as by its dry run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import tune_data
from torch import nn

import edgeft
from edgeft.core import progress
from edgeft.core.errors import EdgeftError, ModelError, RecipeError


class Net(nn.Module):
    def __init__(self, body: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.fc, self.body = nn.Conv2d(3, 8, 3, 4), nn.Linear(8, 3), body

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(self.fc(self.conv(x).relu().mean((2, 3))))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tune_data.write(tmp_path_factory.mktemp("data") / "shapes.npz")


def asked(data: Path, body: Callable[[torch.Tensor], Any], out: Path, *overrides: str, dry_run: bool) -> Any:
    made = tune_data.recipe_for(data, "quantize.method='ptq'", *overrides)
    return edgeft.tune(made, out, model=Net(body), dry_run=dry_run)


def unordered(y: torch.Tensor) -> torch.Tensor:
    """An op that no converter translates."""
    return torch.special.bessel_j0(y)


REFUSED: dict[str, tuple[Callable[[torch.Tensor], Any], type[EdgeftError], str]] = {
    "two outputs": (lambda y: {"logits": y, "other": y}, RecipeError, "model.output"),
    "another size": (lambda y: y[:, :2], ModelError, "the task needs"),
    "no tensor": (lambda y: [], ModelError, "without a tensor"),
    "decides": (lambda y: y if y.sum() > 0 else -y, ModelError, "test_refused_first.py"),
    "raises": (lambda y: y.nothing, ModelError, "AttributeError"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_cannot_be_trained_or_exported(case: str, data: Path, tmp_path: Path) -> None:
    body, kind, words = REFUSED[case]
    for dry_run in (True, False):
        with pytest.raises(kind) as caught:
            asked(data, body, tmp_path / "run", dry_run=dry_run)
        assert words in str(caught.value)
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("metrics.jsonl"))


def test_what_a_converter_refuses_is_an_objection_of_the_dry_run_and_stops_the_run(data: Path, tmp_path: Path) -> None:
    plan = asked(data, unordered, tmp_path / "run", dry_run=True)
    (objection,) = plan["objections"]["host"]
    assert objection["severity"] == "refuse" and "bessel_j0" in objection["why"]
    with pytest.raises(ModelError, match="bessel_j0"):
        asked(data, unordered, tmp_path / "run", dry_run=False)
    assert not list(tmp_path.rglob("metrics.jsonl"))


def test_the_output_that_the_recipe_names_is_taken(data: Path, tmp_path: Path) -> None:
    plan = asked(data, lambda y: {"other": y, "logits": y}, tmp_path, "model.output='logits'", dry_run=True)
    assert plan["objections"] == {"host": []}


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_takes_long_before_training_is_shown_and_no_thread_is_there_when_a_converter_is_forked(
    data: Path, tmp_path: Path, dry_run: bool
) -> None:
    begun: list[tuple[str, int]] = []

    def no_bars() -> bool:
        begun.append((display.activities[-1].title, len(display.activities)))
        return False

    with progress.shown(lambda line: None, no_bars) as display:
        asked(data, lambda y: y, tmp_path / "run", dry_run=dry_run)
    assert {"reading the data", "capturing the graph"} <= {title for title, _ in begun}
    assert [depth for title, depth in begun if title == "trying the model with host"] == [1]
