"""Where the time of a run will go, from a few timed steps before it starts."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..core.progress import duration
from ..session.calibration_data import as_tuple
from ..session.session import Session
from .frugal import Frugal

#: training steps that are timed after one that is not, and samples of the timed evaluation
STEPS, EVALUATED = 3, 32
#: a QAT step over a float one: the forward pass of the teacher, and fake-quantize forward and backward
QAT_STEP = 2.5


@dataclass(frozen=True)
class Phase:
    """A part of a run: what it is, and how many seconds it is expected to take."""

    name: str
    seconds: float
    detail: str


def phases(session: Session, module: nn.Module, loss: Callable[[Any, Any], torch.Tensor]) -> list[Phase]:
    """The parts of a run, of a copy of `module`; `loss(outputs, targets)`. Leaves module and random state as they are.

    [] where the training split is too small for a batch.
    """
    train, quantize = session.recipe.train, session.recipe.quantize
    with torch.random.fork_rng(devices=[]):
        step, batch = _step_seconds(session, copy.deepcopy(module), loss)
        sample = _sample_seconds(session, module)

    if not batch:
        return []

    counts = {name: len(session.dataset.split(name)) for name in ("train", "val", "test")}
    steps, schemes = counts["train"] // batch, len(session.schemes)
    at_most = "at most " if train.patience else ""
    parts = []

    if train.epochs:
        detail = f"{at_most}{_count(train.epochs, 'epoch')} of {_count(steps, 'step')} of {step:.2g} s"
        parts.append(Phase("float training", train.epochs * steps * step, detail))

    quantized_rounds = 0
    if quantize.method in ("qat", "auto") and quantize.epochs:
        at_most = "at most " if quantize.method == "auto" else ""
        detail = f"{at_most}{_count(quantize.epochs, 'epoch')}, {_count(schemes, 'scheme')}"
        detail += f", a step about {QAT_STEP:g} times as long"
        parts.append(Phase("QAT", schemes * quantize.epochs * steps * step * QAT_STEP, detail))
        quantized_rounds = schemes * (quantize.epochs + 1)

    rounds = train.epochs + 1 + quantized_rounds * QAT_STEP
    evaluated = rounds * counts["val"] + 2 * (1 + schemes) * counts["test"]
    detail = f"{_count(counts['val'], 'sample')} an epoch, {counts['test']} at the end"
    parts.append(Phase("evaluation", evaluated * sample, detail))

    return parts


def lines(parts: list[Phase]) -> list[str]:
    """The whole, then the parts from long to short, a line each; [] without any."""
    if not parts:
        return []

    ordered = sorted(parts, key=lambda part: -part.seconds)
    total = duration(sum(part.seconds for part in parts))
    names, times = max(len(part.name) for part in parts), max(len(duration(part.seconds)) for part in parts)
    return [
        f"expected time: about {total}, from {_count(STEPS, 'timed step')}",
        *(f"  {part.name:<{names}}  {duration(part.seconds):>{times}}  {part.detail}" for part in ordered),
    ]


def _count(number: int, noun: str) -> str:
    """ "1 epoch", "3 epochs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _step_seconds(session: Session, module: nn.Module, loss: Callable[[Any, Any], torch.Tensor]) -> tuple[float, int]:
    """(seconds of a training step with its batch read, samples of a batch)."""
    train = session.dataset.split("train")
    batch = min(session.recipe.train.batch_size, len(train))
    part = train.subset(range(min(len(train), batch * (STEPS + 1))))
    loader = session.learning.loader(
        part, session.spec, batch, session.recipe.train.augment, seed=0, workers=0, shuffle=False, drop_last=True
    )
    device = next(module.parameters()).device
    durations = []
    started = time.perf_counter()

    for inputs, targets in loader:
        inputs, targets = _to(inputs, device), _to(targets, device)
        if session.policy == "full":
            value = loss(module(*as_tuple(inputs)), targets)
            value.backward()
        else:
            with Frugal():
                value = loss(module(*as_tuple(inputs)), targets)
            value.backward()
        durations.append(time.perf_counter() - started)
        started = time.perf_counter()

    timed = durations[1:] or durations
    return (statistics.median(timed), batch) if timed else (0.0, 0)


def _sample_seconds(session: Session, module: nn.Module) -> float:
    """Seconds of the evaluation of one sample."""
    val = session.dataset.split("val")
    part = val.subset(range(min(len(val), EVALUATED)))
    training, started = module.training, time.perf_counter()
    module.eval()
    session.learning.predict(module, part, session.spec, EVALUATED)
    module.train(training)
    return (time.perf_counter() - started) / max(1, len(part))


def _to(value: Any, device: torch.device) -> Any:
    """Tensors of a batch on the device of the model."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, (tuple, list)):
        return type(value)(_to(item, device) for item in value)
    if isinstance(value, dict):
        return {key: _to(item, device) for key, item in value.items()}
    return value
