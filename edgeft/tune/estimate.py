"""Where the time of a run will go, from a few timed steps before it starts."""

from __future__ import annotations

import copy
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
    steps, kept = len(session.dataset.split("train")) // batch, len(session.dataset.split("val"))
    tested = len(session.dataset.split("test"))
    schemes = len(session.schemes)
    parts = []
    if train.epochs:
        detail = f"{train.epochs} epochs of {steps} steps of {step:.2g} s"
        parts.append(Phase("float training", train.epochs * steps * step, detail))
    if quantize.method == "qat" and quantize.epochs:
        detail = f"{quantize.epochs} epochs, a step about {QAT_STEP:g} times as long"
        detail += f", {schemes} schemes" if schemes > 1 else ""
        parts.append(Phase("QAT", schemes * quantize.epochs * steps * step * QAT_STEP, detail))
    rounds = train.epochs + 1 + (schemes * (quantize.epochs + 1) * QAT_STEP if quantize.method == "qat" else 0)
    evaluated = rounds * kept + 2 * (1 + schemes) * tested
    parts.append(Phase("evaluation", evaluated * sample, f"{kept} samples an epoch, {tested} at the end"))
    return parts


def text(parts: list[Phase]) -> str:
    """One line: the whole, then the parts from long to short; "" without any."""
    if not parts:
        return ""
    listed = "; ".join(
        f"{part.name} {duration(part.seconds)} ({part.detail})" for part in sorted(parts, key=lambda p: -p.seconds)
    )
    return f"expected time, from {STEPS} timed steps: about {duration(sum(p.seconds for p in parts))}: {listed}"


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
    return (sum(timed) / len(timed), batch) if timed else (0.0, 0)


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
