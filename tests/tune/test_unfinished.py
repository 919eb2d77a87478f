"""A training that is told to end in the middle of an epoch goes on with the next step, to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tune_data
from accelerate import Accelerator
from safetensors.torch import load_file
from shapes_run import HOST
from torch import nn

from edgeft.core import interrupt
from edgeft.learning import batches
from edgeft.tune import fit, unfinished
from edgeft.tune.run import tune

SPEC = {"input": "x", "size": [12, 12], "channels": 3, "mean": [127.0] * 3, "std": [64.0] * 3, "scale": 1.0}
SPEC |= {"kind": "image", "layout": "NCHW", "resize": "bilinear"}


class Split:
    """48 pictures of noise, uint8 (12, 12, 3)."""

    targets = np.arange(48) % 3

    def __len__(self) -> int:
        return 48

    def raw(self, i: int) -> np.ndarray:
        return np.random.default_rng(i).integers(0, 256, (12, 12, 3)).astype(np.uint8)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The handlers of the command line, and what was there afterwards."""
    import sys

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setattr(interrupt, "_number", 0)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    interrupt.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def stopped(patch: pytest.MonkeyPatch, step: int, number: int, *, group: bool = False, stage: str = "noise") -> None:
    """Send this process a signal in the `step`-th step of a stage from now on; with `group` to workers, too."""
    steps, real = [], fit._step

    def counted(training: fit._Training, *arguments: Any) -> float:
        steps.extend([1] * (training.stage.name == stage))
        if len(steps) == step:
            workers = torch.multiprocessing.active_children() if group else []
            if workers:  # by another process: torch's workers take their parent's signal for an orderly end
                subprocess.run(["kill", f"-{number}", str(os.getpid()), *(str(w.pid) for w in workers)], check=True)
                time.sleep(0.3)  # until they have ended, and torch hears of it
            else:
                os.kill(os.getpid(), number)
        return real(training, *arguments)

    patch.setattr(interrupt, "_number", 0)
    patch.setattr(fit, "_step", counted)


def trained(folder: Path, workers: int) -> tuple[fit.Fitted, dict[str, torch.Tensor], list[str]]:
    """A small net with dropout, BatchNorm and averages of its weights: two epochs, augmented."""
    torch.manual_seed(3)
    body = (nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module, lines = nn.Sequential(*body, nn.Linear(8, 3)), list[str]()
    loader = batches.loader(Split(), SPEC, 8, "light", seed=5, workers=workers, shuffle=True, drop_last=True)
    accelerator = Accelerator()
    prepared = accelerator.prepare(loader)

    def epoch_of(epoch: int) -> Any:
        prepared.set_epoch(epoch)
        return prepared

    def validate() -> float:
        with torch.no_grad():
            return float(module(torch.linspace(-1, 1, 3 * 144).view(1, 3, 12, 12))[0, 0])

    stage = fit.Stage("noise", 2, [{"params": list(module.parameters()), "lr": 0.01}], ema=0.9, key="settings")
    result = fit.fit(
        module,
        stage,
        batches=epoch_of,
        loss_of=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        validate=validate,
        accelerator=accelerator,
        state_file=folder / "noise.pt",
        say=lines.append,
    )
    return result, torch.load(folder / "noise.pt", weights_only=True)["model"], lines


@pytest.mark.parametrize(("workers", "number"), [(0, signal.SIGTERM), (2, signal.SIGINT)])
def test_steps_of_an_interrupted_epoch_are_not_repeated(
    workers: int, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None
) -> None:
    """In the second and in the last step of the first epoch, and in the middle of the second."""
    whole, weights, _ = trained(tmp_path / "whole", workers)
    parts, places = tmp_path / "parts", []
    for step in (2, 4, 3):
        with monkeypatch.context() as patch:
            stopped(patch, step, number)
            with pytest.raises(KeyboardInterrupt):
                trained(parts, workers)
        state = torch.load(parts / "noise.unfinished.pt", weights_only=True)
        places.append((state["epoch"], state["steps_of_epoch"]))
    assert places == [(1, 2), (1, 6), (2, 3)]

    result, same, lines = trained(parts, workers)
    assert "noise: taken up after step 3 of epoch 2" in lines
    assert [key for key in weights if not torch.equal(weights[key], same[key])] == []
    assert result.rows == whole.rows and result.steps == whole.steps == 12
    assert result.saved_bytes == whole.saved_bytes
    assert not (parts / "noise.unfinished.pt").exists()


def test_workers_that_the_signal_ended_too_cost_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None
) -> None:
    _, weights, _ = trained(tmp_path / "whole", 2)
    with monkeypatch.context() as patch:
        stopped(patch, 2, signal.SIGTERM, group=True)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "parts", 2)
    _, same, lines = trained(tmp_path / "parts", 2)
    assert "noise: taken up after step 2 of epoch 1" in lines
    assert [key for key in weights if not torch.equal(weights[key], same[key])] == []


def test_the_state_of_a_long_epoch_is_written_without_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed goes on with the last step that was written, one of other settings with none."""
    whole, weights, _ = trained(tmp_path / "whole", 0)
    monkeypatch.setattr(unfinished, "EVERY", 0.0)
    real, steps = fit._step, []

    def killed(*arguments: Any) -> float:
        steps.append(1)
        if len(steps) == 9:
            raise MemoryError
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_step", killed)
        with pytest.raises(MemoryError):
            trained(tmp_path / "parts", 0)
    assert unfinished.load(tmp_path / "parts" / "noise.pt", "settings", 1) is None
    assert unfinished.load(tmp_path / "parts" / "noise.pt", "others", 2) is None
    result, same, lines = trained(tmp_path / "parts", 0)
    assert "noise: taken up after step 2 of epoch 2" in lines and result.rows == whole.rows
    assert [key for key in weights if not torch.equal(weights[key], same[key])] == []


@pytest.mark.slow
def test_a_terminated_run_gives_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None) -> None:
    """In the float stage and in quantization-aware training, of a run as `edgeft tune` makes it."""
    data = tune_data.write(tmp_path / "shapes.npz")
    recipe = tune_data.recipe_for(data, "train.augment='light'", "train.ema=0.9", "train.batch_size=8")
    whole, parts, lines = tmp_path / "whole", tmp_path / "parts", list[str]()
    want = tune(recipe, whole)
    for stage, step in (("float", 8), (HOST, 4)):
        with monkeypatch.context() as patch:
            stopped(patch, step, signal.SIGTERM, stage=stage)
            with pytest.raises(KeyboardInterrupt):
                tune(recipe, parts, resume=parts.exists())
    result = tune(recipe, parts, resume=True, say=lines.append)
    assert f"{HOST}: taken up after step 4 of epoch 1" in lines
    for name in ("float.safetensors", f"quantized.{HOST}.safetensors"):
        first, second = map(load_file, (whole / name, parts / name))
        assert [key for key in first if not torch.equal(first[key], second[key])] == []
    text = partial(Path.read_text, encoding="utf-8")
    assert text(whole / "metrics.jsonl") == text(parts / "metrics.jsonl")
    assert [want[key] == result[key] for key in ("quantized", "steps", "peak_training_bytes")] == [True] * 3
