"""The training loop, for the float stage and for quantization-aware training alike. Read it top to bottom.

It is based on `accelerate`: CPU, CUDA, or several processes under `torchrun` / `accelerate launch` (`processes`). The
batch size is the global one; each process takes its share of every batch.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, skip_first_batches
from torch import nn

from ..core import interrupt
from ..core.metric import Metric
from ..core.progress import track
from . import batch_norm, checkpoint, optimizers, sparse, unfinished
from .averaged import Averaged
from .memory import SavedBytes
from .processes import of_main
from .updates import train_mode

VALIDATION = Metric("validation")


@dataclass(frozen=True)
class Stage:
    """One stage of training. `groups` are optimizer parameter groups (dicts with "params" and "lr")."""

    name: str
    epochs: int
    groups: Sequence[dict[str, Any]]
    schedule: str = "cosine"
    optimizer: str = "adamw"
    patience: int = 0
    seed: int = 0
    #: what `validate` measures: which of two values is better, and how one is written
    metric: Metric = VALIDATION
    #: BatchNorm's running statistics: "update" | "freeze"; "" = a captured graph, which has neither them nor a mode
    norm_stats: str = "update"
    #: called before each epoch (from 1) with its number: sets the trainable parameters of the epoch, where they change
    opens: Callable[[int], None] | None = None
    #: decay of the moving average of the weights that is validated and kept; 0 = the weights of the last step are
    ema: float = 0.0
    #: largest norm of the gradient of all weights (Pascanu et al. 2013); 0 = gradients are left as they are
    max_grad_norm: float = 0.0
    #: (metric before training, metric after the first epoch) -> whether the stage ends there, since it diverges
    diverges: Callable[[float, float], bool] | None = None
    #: what the stage was set up with, where that may change between runs: another checkpoint is not taken up
    key: str = ""


@dataclass
class Fitted:
    """The result of a stage: the epoch whose weights were chosen (0 = the initial ones) and its validation metric.

    `diverged`: the stage ended after its first epoch, by `Stage.diverges`.
    """

    best_epoch: int
    best: float
    steps: int
    seconds: float
    saved_bytes: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    diverged: bool = False


@dataclass
class _Progress:
    """The state of a stage after its last finished epoch: the content of a checkpoint beside weights and optimizer."""

    epoch: int
    best: float
    best_epoch: int
    best_state: dict[str, torch.Tensor]
    steps: int
    saved_bytes: int
    seconds: float
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class _Training:
    """One call of `fit`: the module, the same module and its optimizer as `accelerate` prepared them, and reporting."""

    module: nn.Module
    model: nn.Module
    optimizer: torch.optim.Optimizer
    base_rates: Sequence[float]
    stage: Stage
    accelerator: Accelerator
    loss_of: Callable[[nn.Module, Any], torch.Tensor]
    say: Callable[[str], None]
    state_file: Path
    average: Averaged | None = None

    def state(self) -> dict[str, Any]:
        """What is trained, for a checkpoint."""
        average = {"average": self.average.state()} if self.average is not None else {}
        return {"model": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), **average}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load(state["average"])


def fit(
    module: nn.Module,
    stage: Stage,
    *,
    batches: Callable[[int], Any],
    loss_of: Callable[[nn.Module, Any], torch.Tensor],
    validate: Callable[[], float],
    accelerator: Accelerator,
    state_file: Path,
    say: Callable[[str], None] = lambda text: None,
    on_epoch: Callable[[str, int, float], None] | None = None,
) -> Fitted:
    """Train `module` in place and leave it with the weights of the best validation metric (later wins a tie).

    `batches(epoch)` gives a prepared DataLoader that is a function of seed and epoch; `loss_of(model, batch)` the
    scalar loss; `validate()` the validation metric of `module` as it is, the same number on every process (see
    `processes.agreed`). State is written to `state_file` after every epoch and taken up from there; a finished stage is
    not trained again. A process that gets a signal writes the state within an epoch, too (`unfinished`).
    `on_epoch(stage, epoch, validation metric)` is called for every epoch once its state is written, those before a
    resumption included and 0 for the start; what it raises ends the training, which can be resumed.
    Raises `FloatingPointError` on every process when the loss stops being finite.
    """
    started = time.monotonic()
    training = _prepared(module, stage, accelerator, loss_of, say, state_file)
    progress = _resumed(training) or _begun(training, validate)
    for row in progress.rows if on_epoch is not None else ():
        on_epoch(stage.name, row["epoch"], row["validation"])  # type: ignore[misc]
    position = _middle(training, progress)
    spent, counted = progress.seconds, -1
    for epoch in range(progress.epoch + 1, stage.epochs + 1):
        if _diverged(stage, progress.rows):
            break
        if stage.patience and epoch - 1 - progress.best_epoch >= stage.patience:
            say(f"{stage.name}: no better for {stage.patience} epochs, stopped early")
            break
        # dropout is a function of seed, epoch and process: resumable, and no two processes drop the same
        torch.manual_seed(stage.seed * 100_003 + epoch + 7_919_999 * accelerator.process_index)
        loader = batches(epoch)
        if stage.opens is not None:
            stage.opens(epoch)
        progress.epoch = epoch
        trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
        loss = _train_epoch(training, loader, progress, position, measure=trainable != counted)
        counted, position = trainable, None
        with training.average.shown(module) if training.average is not None else contextlib.nullcontext():
            _measure_statistics(training, batches(epoch))
            _record(training, progress, loss, validate())
        progress.seconds = spent + time.monotonic() - started
        _write(training, progress)
        accelerator.wait_for_everyone()
        if on_epoch is not None:
            on_epoch(stage.name, epoch, progress.rows[-1]["validation"])

    if stage.opens is not None:
        stage.opens(progress.epoch)  # also where the stage was finished before: the module shows what was trained
    module.load_state_dict(progress.best_state)
    module.eval()
    accelerator.free_memory()
    progress.seconds = spent + time.monotonic() - started
    return _fitted(stage, progress)


def _fitted(stage: Stage, progress: _Progress) -> Fitted:
    return Fitted(
        progress.best_epoch,
        progress.best,
        progress.steps,
        progress.seconds,
        progress.saved_bytes,
        progress.rows,
        _diverged(stage, progress.rows),
    )


def _diverged(stage: Stage, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether the first epoch of a stage was worse than its start by what `stage.diverges` does not take."""
    return len(rows) > 1 and stage.diverges is not None and stage.diverges(*(r["validation"] for r in rows[:2]))


def _prepared(
    module: nn.Module,
    stage: Stage,
    accelerator: Accelerator,
    loss_of: Callable[[nn.Module, Any], torch.Tensor],
    say: Callable[[str], None],
    state_file: Path,
) -> _Training:
    """The stage's optimizer (which leaves frozen channels as they are) and averages, for this number of processes."""
    optimizer = optimizers.make(stage.optimizer, stage.groups)
    if still := sparse.kept_still(p for group in optimizer.param_groups for p in group["params"]):
        optimizer.register_step_post_hook(lambda *_: sparse.restore(still))
    model, optimizer = accelerator.prepare(module, optimizer)
    base_rates = [g["lr"] for g in optimizer.param_groups]
    average = Averaged(stage.ema) if stage.ema else None
    return _Training(module, model, optimizer, base_rates, stage, accelerator, loss_of, say, state_file, average)


def _resumed(training: _Training) -> _Progress | None:
    """The progress of a checkpoint, its weights and optimizer state loaded; None without one of the same settings."""
    stage = training.stage
    state = of_main(training.accelerator, lambda: checkpoint.load(training.state_file))
    if state is not None and state.get("key", "") != stage.key:
        training.say(f"{stage.name}: its settings have changed, trained anew")
        state = None
    if state is None:
        return None

    training.load(state)
    training.say(f"{stage.name}: taken up after epoch {state['epoch']}")
    return _Progress(
        state["epoch"],
        state["best"],
        state["best_epoch"],
        state["best_model"],
        state["steps"],
        state["saved_bytes"],
        state["seconds"],
        state["rows"],
    )


def _middle(training: _Training, progress: _Progress) -> unfinished.Position | None:
    """Where the next epoch was interrupted, its state loaded; None where it starts anew."""
    stage, epoch = training.stage, progress.epoch + 1
    if training.accelerator.num_processes > 1:
        return None

    taken_up = unfinished.load(training.state_file, stage.key, epoch)
    if taken_up is None:
        return None

    position, state = taken_up
    training.load(state)
    progress.seconds, progress.saved_bytes = state["seconds"], state["saved_bytes"]
    training.say(f"{stage.name}: taken up after step {position.steps} of epoch {epoch}")

    return position


def _begun(training: _Training, validate: Callable[[], float]) -> _Progress:
    """The progress of a stage before its first epoch."""
    stage, best = training.stage, validate()
    training.say(f"{stage.name}: validation {stage.metric.format(best)} before training")
    rows = [{"stage": stage.name, "epoch": 0, "validation": best}]
    return _Progress(0, best, 0, copy.deepcopy(training.module.state_dict()), 0, 0, 0.0, rows)


def _train_epoch(
    training: _Training, loader: Any, progress: _Progress, position: unfinished.Position | None, *, measure: bool
) -> float:
    """One epoch of steps, from `position` on; returns the mean loss a step.

    `measure`: account for what its first step keeps in memory. Raises `KeyboardInterrupt` between two steps, once their
    state is written.
    """
    stage, module, device = training.stage, training.module, training.accelerator.device
    epoch, count, started = progress.epoch, len(loader), time.monotonic()
    steps, total = (position.steps, position.total) if position else (0, 0.0)

    if stage.norm_stats:
        train_mode(module, freeze=stage.norm_stats == "freeze")
        momentum = batch_norm.pace_statistics(module, count)
        if momentum is not None:
            training.say(f"{stage.name}: BatchNorm momentum raised to {momentum:.2g}, an epoch has {count} steps only")

    def detail() -> str:
        return f"loss {total / max(steps, 1):.4f}"

    def write() -> None:
        if steps and training.accelerator.num_processes == 1:
            here = unfinished.Position.here(steps, total, device)
            spent = {"seconds": progress.seconds + time.monotonic() - started, "saved_bytes": progress.saved_bytes}
            about = {"key": stage.key, "epoch": epoch, **spent}
            unfinished.save(training.state_file, here, {**about, **training.state()})

    title, ahead = f"{stage.name} {epoch}/{stage.epochs}", (stage.epochs - epoch) * count
    left = [] if steps == count else skip_first_batches(loader, steps) if steps else loader
    batches = unfinished.between_steps(left, write)
    with interrupt.deferred():
        for batch in track(batches, title, total=count - steps, ahead=ahead, detail=detail):
            if position is not None:
                position.go_on(device)
            factor = optimizers.rate(stage.schedule, (epoch - 1 + steps / count) / stage.epochs)
            loss = _step(training, batch, factor, progress if measure and position is None else None)
            measure, position = False, None
            total, steps = total + loss, steps + 1

    progress.steps += steps
    accelerator = training.accelerator
    total = float(accelerator.reduce(torch.tensor(total, device=accelerator.device), "mean"))
    if not math.isfinite(total):
        accelerator.free_memory()
        raise FloatingPointError(f"{stage.name}: the loss is not finite in epoch {epoch}")
    return total / max(steps, 1)


def _step(training: _Training, batch: Any, factor: float, measured: _Progress | None) -> float:
    """One step with learning rates times `factor`; returns its loss. `measured` gets what it keeps in memory."""
    module, optimizer = training.module, training.optimizer
    for group, base in zip(optimizer.param_groups, training.base_rates):
        group["lr"] = base * factor

    if measured is not None:
        with SavedBytes(module.parameters()) as saved:
            loss = training.loss_of(training.model, batch)
        measured.saved_bytes = max(measured.saved_bytes, saved.total)
    else:
        loss = training.loss_of(training.model, batch)

    optimizer.zero_grad()
    training.accelerator.backward(loss)
    if training.stage.max_grad_norm:
        training.accelerator.clip_grad_norm_(module.parameters(), training.stage.max_grad_norm)
    optimizer.step()
    if training.average is not None:
        training.average.update(module)
    return float(loss.detach())


def _measure_statistics(training: _Training, loader: Any) -> None:
    """The module in eval mode, with statistics that belong to its weights, the same on every process."""
    module = training.module
    if training.stage.norm_stats == "update":
        batch_norm.measure(module, loader, len(loader), lambda batch: training.loss_of(module, batch))
    module.eval()
    batch_norm.share_buffers(module)


def _record(training: _Training, progress: _Progress, loss: float, metric: float) -> None:
    """The epoch's row, its weights where they are the best so far, and the line that reports it."""
    stage, epoch = training.stage, progress.epoch
    # no comparison holds for NaN: it must not pass for the best
    if math.isfinite(metric) and not stage.metric.better(progress.best, metric):
        progress.best, progress.best_epoch = metric, epoch
        progress.best_state = copy.deepcopy(training.module.state_dict())

    lr = max(g["lr"] for g in training.optimizer.param_groups)
    figures = {"loss": loss, "validation": metric, "lr": lr}
    progress.rows.append({"stage": stage.name, "epoch": epoch, "step": progress.steps, **figures})
    training.accelerator.log({f"{stage.name}/{key}": value for key, value in figures.items()}, step=progress.steps)
    score = stage.metric.format(metric)
    training.say(f"{stage.name} {epoch}/{stage.epochs}: loss {loss:.4f}, validation {score}")


def _write(training: _Training, progress: _Progress) -> None:
    """The checkpoint of a finished epoch, written by the main process."""
    if not training.accelerator.is_main_process:
        return
    state = {
        "key": training.stage.key,
        "epoch": progress.epoch,
        **training.state(),
        "best": progress.best,
        "best_epoch": progress.best_epoch,
        "best_model": progress.best_state,
        "steps": progress.steps,
        "saved_bytes": progress.saved_bytes,
        "seconds": progress.seconds,
        "rows": progress.rows,
    }
    checkpoint.save(training.state_file, state)
    unfinished.discard(training.state_file)


def outcome(fitted: Fitted, metric: Metric) -> dict[str, str]:
    """`method`, "qat" or "ptq": whose weights a scheme has after QAT; of "ptq" also `why`, a sentence."""
    if fitted.best_epoch:
        return {"method": "qat"}
    scores = [row["validation"] for row in fitted.rows if row["epoch"]]
    best = max(scores) if metric.higher_is_better else min(scores)
    why = (
        f"QAT did not improve on PTQ, so the PTQ model is used: none of {len(scores)} epochs was better on the "
        f"validation split ({metric.name} {metric.format(fitted.best)} as calibrated, "
        f"{metric.format(best)} in the best epoch)"
    )
    return {"method": "ptq", "why": why}
