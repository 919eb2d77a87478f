"""The loop: it learns, keeps the best epoch, stops early, and two processes give the result of one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import tune_data
from accelerate import Accelerator
from safetensors.torch import load_file
from shapes_run import HOST
from torch import nn

from edgeft.core.errors import DataError, ModelError, RecipeError
from edgeft.core.metric import Metric
from edgeft.tune import checkpoint
from edgeft.tune.fit import Fitted, Stage, fit
from edgeft.tune.optimizers import rate
from edgeft.tune.run import tune

HERE = Path(__file__).parent


class Case:
    """A linear problem, a validation metric from a list, and the weights at each time it was asked for."""

    def __init__(self, tmp_path: Path, scores: list[float]) -> None:
        torch.manual_seed(0)
        self.module, self.folder = nn.Linear(3, 2), tmp_path
        self.x = torch.randn(12, 3)
        self.y = (self.x[:, 0] > 0).long()
        self.scores: Iterator[float] = iter(scores)
        self.seen: list[torch.Tensor] = []

    def validate(self) -> float:
        self.seen.append(self.module.weight.detach().clone())
        return next(self.scores)

    def run(self, epochs: int, **stage: Any) -> Fitted:
        groups = [{"params": list(self.module.parameters()), "lr": 0.1}]
        return fit(
            self.module,
            Stage("test", epochs, groups, **stage),
            batches=lambda _epoch: [(self.x[i : i + 4], self.y[i : i + 4]) for i in (0, 4, 8)],
            loss_of=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
            validate=self.validate,
            accelerator=Accelerator(),
            state_file=self.folder / "test.pt",
        )


def test_the_loss_falls_and_the_rows_tell_of_it(tmp_path: Path) -> None:
    case = Case(tmp_path, [0.0, 0.1, 0.2, 0.3, 0.4])
    fitted = case.run(4)
    losses = [row["loss"] for row in fitted.rows[1:]]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.8 * losses[0]
    assert [row["epoch"] for row in fitted.rows] == [0, 1, 2, 3, 4]
    assert [row["validation"] for row in fitted.rows] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert fitted.steps == 12 and fitted.best_epoch == 4 and fitted.best == 0.4
    assert fitted.saved_bytes > 0


@pytest.mark.parametrize(
    "scores, higher, best",
    [
        ([0.5, 0.9, 0.3, 0.6], True, 1),
        ([0.5, 0.3, 0.2, 0.4], True, 0),
        ([0.5, 0.9, 0.3, 0.6], False, 2),
        ([0.5] * 4, True, 3),
    ],
    ids=["best in the middle", "never better", "lower is better", "a tie goes to the later"],
)
def test_the_best_epoch_is_kept(scores: list[float], higher: bool, best: int, tmp_path: Path) -> None:
    case = Case(tmp_path, scores)
    fitted = case.run(3, metric=Metric("score", higher_is_better=higher))
    assert fitted.best_epoch == best and fitted.best == scores[best]
    assert torch.equal(case.module.weight, case.seen[best])
    assert not case.module.training


def test_the_average_of_the_weights_is_validated_and_kept(tmp_path: Path) -> None:
    plain, averaged = Case(tmp_path / "plain", [0.0, 0.1]), Case(tmp_path / "averaged", [0.0, 0.1])
    plain.run(1)
    averaged.run(1, ema=0.5)
    steps = Case(tmp_path / "steps", [])
    trail = [steps.module.weight.detach().clone()]
    optimizer = torch.optim.AdamW(steps.module.parameters(), lr=0.1)
    for i in (0, 4, 8):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * rate("cosine", i / 12)
        nn.functional.cross_entropy(steps.module(steps.x[i : i + 4]), steps.y[i : i + 4]).backward()
        optimizer.step()
        optimizer.zero_grad()
        trail.append(steps.module.weight.detach().clone())
    torch.testing.assert_close(plain.seen[-1], trail[-1])
    expected = trail[1]
    for step, weights in enumerate(trail[2:], 2):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(averaged.seen[-1], expected)
    torch.testing.assert_close(averaged.module.weight.detach(), expected)


def test_the_gradient_is_scaled_down_to_its_largest_norm(tmp_path: Path) -> None:
    plain, clipped = Case(tmp_path / "plain", [0.0, 0.1]), Case(tmp_path / "clipped", [0.0, 0.1])
    plain.run(1, optimizer="sgd", schedule="constant")
    clipped.run(1, optimizer="sgd", schedule="constant", max_grad_norm=1e-3)
    moved = [float((case.module.weight.detach() - case.seen[0]).norm()) for case in (plain, clipped)]
    assert moved[0] > 0.01 and 0 < moved[1] < 1e-3, "three steps of 0.1, with Nesterov's momentum"


def test_an_average_goes_on_where_a_run_was_stopped(tmp_path: Path) -> None:
    scores = [0.0, 0.1, 0.2, 0.3]
    straight = Case(tmp_path / "straight", scores)
    straight.run(3, ema=0.9, schedule="constant")
    Case(tmp_path / "stopped", scores).run(1, ema=0.9, schedule="constant")
    resumed = Case(tmp_path / "stopped", scores[2:])
    resumed.run(3, ema=0.9, schedule="constant")
    assert torch.equal(straight.module.weight, resumed.module.weight)


def test_it_stops_when_nothing_gets_better(tmp_path: Path) -> None:
    case = Case(tmp_path, [0.5, 0.6, 0.4, 0.4, 0.9, 0.9])
    fitted = case.run(5, patience=2)
    assert len(fitted.rows) == 4, "epochs 2 and 3 were no better than 1"
    assert fitted.best_epoch == 1


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    first = Case(tmp_path, [0.1, 0.2, 0.3])
    done = first.run(2)
    again = Case(tmp_path, [])
    taken = again.run(2)
    assert (taken.best_epoch, taken.steps, taken.rows) == (done.best_epoch, done.steps, done.rows)
    assert torch.equal(again.module.weight, first.module.weight)


def test_a_stage_with_other_settings_is_trained_anew(tmp_path: Path) -> None:
    Case(tmp_path, [0.1, 0.2, 0.3]).run(2, key="one")
    again = Case(tmp_path, [0.1, 0.2, 0.3])
    again.run(2, key="two")
    assert len(again.seen) == 3


def test_the_shape_of_the_schedules() -> None:
    assert [rate("constant", p) for p in (0, 0.5, 1)] == [1, 1, 1]
    assert [rate("step", p) for p in (0, 0.59, 0.6, 0.84, 0.85, 0.99)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert 0 < rate("cosine", 0) < 0.05, "it warms up"
    assert rate("cosine", 0.05) > 0.98
    assert rate("cosine", 0.5) == pytest.approx(0.5)
    assert rate("cosine", 1.0) == pytest.approx(0.0, abs=1e-9)
    falling = [rate("cosine", 0.05 + i / 100) for i in range(95)]
    assert falling == sorted(falling, reverse=True)


def test_the_optimizer_is_driven_by_the_schedule(tmp_path: Path) -> None:
    """Plain arithmetic: one parameter, gradient 1, Nesterov momentum 0.9 written out."""

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.w * x

    module = One()
    fit(
        module,
        Stage("one", 2, [{"params": [module.w], "lr": 0.5}], "step", "sgd"),
        batches=lambda _epoch: [torch.ones(())] * 5,
        loss_of=lambda model, batch: model(batch),
        validate=lambda: 1.0,
        accelerator=Accelerator(),
        state_file=tmp_path / "one.pt",
    )
    w, velocity = 0.0, 0.0
    for step in range(10):
        velocity = 0.9 * velocity + 1.0
        w -= 0.5 * rate("step", step / 10) * (1.0 + 0.9 * velocity)
    assert float(module.w.detach()) == pytest.approx(w, rel=1e-5)


class Bursts(nn.Module):
    """Values that are infinite in training alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float("inf") if self.training else x


def test_a_loss_that_is_not_finite_is_a_clear_error(tmp_path: Path) -> None:
    data = tune_data.write(tmp_path / "shapes.npz")
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3), Bursts())
    with pytest.raises(DataError, match="loss is not finite in epoch 1") as caught:
        tune(tune_data.recipe_for(data, "data.size=32"), tmp_path / "run", model=net)
    assert "lower train.lr" in caught.value.remedy

    assert not (tmp_path / "run" / "summary.json").exists()


def test_outputs_that_are_not_finite_are_refused_before_training(tmp_path: Path) -> None:
    data = tune_data.write(tmp_path / "shapes.npz")
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    with torch.no_grad():
        net[1].weight.fill_(1e38)
    with pytest.raises(ModelError, match="outputs for an example input are not finite"):
        tune(tune_data.recipe_for(data, "data.size=32"), tmp_path / "run", model=net)
    assert not (tmp_path / "run").exists()


SCRIPT = """
    import sys
    sys.path.insert(0, {here!r})
    from pathlib import Path
    import torch, tune_data
    from edgeft.tune.run import tune
    said = []
    tune(tune_data.recipe_for(Path(sys.argv[1]), *sys.argv[3:]), Path(sys.argv[2]), say=print)
"""


def two_processes(data: Path, out: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    import textwrap

    script = out.parent / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(here=str(HERE)))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [
            *command,
            "--rdzv-backend",
            "c10d",
            "--rdzv-endpoint",
            "localhost:0",
            str(script),
            str(data),
            str(out),
            *overrides,
        ],
        capture_output=True,
        text=True,
        timeout=400,
        env=environment,
    )


TWENTY = (
    "train.epochs=0",
    "train.optimizer='sgd'",
    "quantize.epochs=5",
    "quantize.lr=0.003",
    "train.batch_size=12",
    "quantize.distill=false",
)


@pytest.mark.slow
def test_two_processes_let_blocks_and_adapters_loose_alike(tmp_path: Path) -> None:
    data = tune_data.write(tmp_path / "shapes.npz")
    few = ("quantize.method='none'", "train.batch_size=12")
    tune(tune_data.recipe_for(data, *few, "train.epochs=0"), tmp_path / "start")
    before = load_file(tmp_path / "start" / "float.safetensors")
    for name, more in {"lora": "update.policy='lora'", "full": "train.lr=0.01"}.items():
        done = two_processes(data, tmp_path / name, *few, more, "train.epochs=2", "train.unfreeze=1")
        assert done.returncode == 0, done.stderr[-3000:]
        after = load_file(tmp_path / name / "float.safetensors")
        assert list(after) == list(before)
        moved = {k for k in after if not torch.equal(after[k], before[k])}
        body = {"layer3.0.downsample.0.weight"} if name == "lora" else {k for k in after if k.startswith("layer3.")}
        assert moved <= body | {"fc.weight", "fc.bias"} and "fc.weight" in moved, moved


def test_two_processes_with_half_the_batch_give_the_result_of_one(tmp_path: Path) -> None:
    """Twenty steps of the quantization-aware stage: shares, gradients, ranges and checkpoints together."""
    data = tune_data.write(tmp_path / "shapes.npz")
    one = tune(tune_data.recipe_for(data, *TWENTY), tmp_path / "one")
    assert one["steps"] == 20
    done = two_processes(data, tmp_path / "two", *TWENTY)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(f"{HOST} 5/5") == 1, "one process speaks"
    first, second = (checkpoint.load(tmp_path / run / "checkpoints" / f"{HOST}.pt") for run in ("one", "two"))
    assert first is not None and second is not None and first["epoch"] == second["epoch"] == 5
    start = load_file(tmp_path / "one" / "float.safetensors")
    assert float((first["model"]["fc.weight"] - start["fc.weight"]).abs().max()) > 1e-3, "it did learn"
    assert set(first["model"]) == set(second["model"])
    worst = {k: float((v - second["model"][k]).abs().max()) for k, v in first["model"].items()}
    print(sorted(worst.items(), key=lambda x: -x[1])[:8])
    assert max(worst.values()) <= 1e-5, {k: v for k, v in worst.items() if v > 1e-5}
    for one_row, two_row in zip(first["rows"], second["rows"]):
        # sums in another order may round one value to the next step: half a step more with the 7 bits of some CPUs
        assert one_row.get("loss") == pytest.approx(two_row.get("loss"), abs=5e-5)
        assert one_row["validation"] == two_row["validation"]


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tune_data.write(tmp_path / "shapes.npz")
    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: 3))
    with pytest.raises(RecipeError, match="16 cannot be divided over 3") as caught:
        tune(tune_data.recipe_for(data), tmp_path / "run")
    assert "multiple of 3" in caught.value.remedy
