"""A scheme of a run: calibration, quantization-aware training, and with `auto` as much of each as the gates need."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..config.scheme import Scheme
from ..core.errors import DataError
from ..core.progress import phase
from ..quantize.parts import QuantizedParts
from ..session import mixed_precision
from ..session.calibration_data import as_tuple, calibrated
from . import retries, unfreezing, updates
from .fit import Fitted, Stage, outcome
from .groups import qat_groups
from .processes import agreed
from .retries import Retried
from .training_run import Run


def scheme_stage(run: Run, scheme: Scheme) -> dict[str, Any]:
    """Calibrate, then quantization-aware training, of one scheme; both are measured on the test split.

    Saves the quantized model and returns the scheme's row of summary.json; {} where the recipe quantizes nothing.
    """
    assert run.captured is not None
    method = run.s.recipe.quantize.method
    if method == "none":
        return {}

    with phase(f"{scheme.name}: calibrating"):
        graph = calibrated(run.s, run.captured, scheme, run.say)

    graph.module.to(run.accelerator.device)
    result: dict[str, Any] = {"ptq": run.metric(graph.module, "test"), "quantized": None, "best_epoch": 0}
    result |= {"method": "ptq", "format": scheme.format}

    if method == "auto":
        graph = _as_the_gates_need(run, graph, result)
        result["quantized"] = run.metric(graph.module, "test")
    elif method == "qat" and _can_train(run, scheme):
        _train(run, graph, result)
        result["quantized"] = run.metric(graph.module, "test")
    else:
        result["quantized"] = result["ptq"]

    if run.watch is not None:
        result["validation"] = run.metric(graph.module, "val")

    result["integer_weights"] = len(graph.weights())
    result["float_ops"] = graph.float_ops()
    run.save(graph.module, f"quantized.{scheme.name}.safetensors")
    return result


def _can_train(run: Run, scheme: Scheme) -> bool:
    return bool(run.s.recipe.quantize.epochs and scheme.trainable)


def _train(run: Run, graph: QuantizedParts, result: dict[str, Any]) -> None:
    """Quantization-aware training of a calibrated graph, which has the better weights afterwards; adds to `result`.

    "retries" in it are the attempts that diverged, where there were any.
    """
    name = graph.scheme.name
    run.say(f"{name}: {len(graph.weights())} integer layers are calibrated; training")
    trained = qat(run, graph)

    if trained.fitted is None:
        result |= {"method": "ptq", "best_epoch": 0, "why": retries.why_none(trained.diverged)}
    else:
        result |= {"best_epoch": trained.fitted.best_epoch, **outcome(trained.fitted, run.s.task.metric)}

    if trained.diverged:
        result |= {"retries": trained.diverged, **({} if trained.fitted is None else {"lr": trained.lr})}
    if result["method"] == "ptq":
        run.say(f"{name}: {result['why']}")

    result["updated_parameters"] = sum(p.numel() for p in graph.module.parameters() if p.requires_grad)


def _as_the_gates_need(run: Run, graph: QuantizedParts, result: dict[str, Any]) -> QuantizedParts:
    """`auto`: the calibrated graph where the gates' limits hold on validation, else trained, else with layers in float.

    Adds "keep_float" and the table "auto" to `result`. Raises `RecipeError` for limits that cannot be judged by.
    """
    assert run.captured is not None
    base = run.s.recipe.quantize.keep_float
    try:
        judge = mixed_precision.judge_of(run.s, run.captured, lambda compute: agreed(run.accelerator, compute))
    except DataError as error:
        run.say(f"{graph.scheme.name}, auto: {error.message}; the calibrated model stays as it is")
        mixed = mixed_precision.undecided(graph, base, error)
    else:
        standing, trained = judge(graph.module), None
        if not (standing.holds or run.s.dataset.unlabelled) and _can_train(run, graph.scheme):
            moving = copy.deepcopy(graph, {id(graph.captured): graph.captured})
            _train(run, moving, result)
            trained = (moving, judge(moving.module)) if result["method"] == "qat" else None
        mixed = mixed_precision.search(run.s, run.captured, graph, judge, run.say, standing=standing, trained=trained)
        if trained and mixed.method == "ptq":
            reached = run.s.task.metric.format(trained[1].metric)
            why = f"training reached {reached} on validation, so that layers in float took its place"
            result |= {"method": "ptq", "best_epoch": 0, "why": why}

    result |= {"keep_float": list(mixed.keep_float), "auto": mixed.record}
    return mixed.graph


def qat(run: Run, graph: QuantizedParts) -> Retried:
    """Train a calibrated graph by the recipe, the float model as its teacher, at a lower rate where it diverges."""
    q, name, metric = run.s.recipe.quantize, graph.scheme.name, run.s.task.metric
    apply_policy(run, graph)
    loss_of = _loss_against_float(run, graph)

    def train(lr: float, attempt: int) -> Fitted:
        fitted = run.fit(graph.module, _stage(run, graph, lr), loss_of, f"{name}.{attempt}.pt" if attempt else "")
        if fitted.diverged and attempt < retries.MOST:
            for row in fitted.rows:  # the scheme's own curve is that of the attempt that stands
                row["stage"] = f"{name}, lr {lr:g}"
        return fitted

    trained = retries.retried(graph.module, q.lr, train, metric, lambda text: run.say(f"{name}: {text}"))
    graph.captured.module.cpu()
    graph.module.cpu()
    return trained


def _stage(run: Run, graph: QuantizedParts, lr: float) -> Stage:
    """Quantization-aware training at the rate `lr`."""
    t, q, metric = run.s.recipe.train, run.s.recipe.quantize, run.s.task.metric
    return Stage(
        graph.scheme.name,
        q.epochs,
        qat_groups(graph.module, lr, unfreezing.decay_in_graph(graph, run.module, run.s.built.head, t.layer_decay)),
        t.schedule,
        t.optimizer,
        0,
        t.seed,
        metric,
        norm_stats="",
        diverges=retries.diverges(metric, run.s.recipe.gates, len(run.s.dataset.split("val"))),
        key=repr(dataclasses.astuple(q)),
    )


def _loss_against_float(run: Run, graph: QuantizedParts) -> Callable[[nn.Module, Any], torch.Tensor]:
    """The loss of a quantized model: against the float model's outputs, or the task's own."""
    teacher = graph.captured.module.to(run.accelerator.device)
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)

    def loss_of(model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, targets = batch
        student = model(*as_tuple(inputs))
        if not run.s.recipe.quantize.distill:
            return run.loss(student, targets)
        with torch.no_grad():
            taught = teacher(*as_tuple(inputs))
        return run.s.learning.distill(student, taught, targets)

    return loss_of


def apply_policy(run: Run, graph: QuantizedParts) -> None:
    """Apply the update policy to every graph; one without any of the chosen parameters is left unchanged."""
    head, policy = run.s.built.head, run.s.policy
    chosen = updates.trainable(run.module, head, policy, run.trainable.plan)
    for part, part_graph in graph.graphs.items():
        if graph.single:
            updates.apply_to_graph(part_graph, run.module, head, policy, run.adapted, run.trainable.plan)
        elif any(name.startswith(f"{part}.") for name in chosen):
            submodule = run.module.get_submodule(part)
            adapted = [name.removeprefix(f"{part}.") for name in run.adapted if name.startswith(f"{part}.")]
            part_plan = run.trainable.plan and run.trainable.plan.under(part)
            updates.apply_to_graph(part_graph, submodule, head.removeprefix(f"{part}."), policy, adapted, part_plan)
        else:
            updates.apply(part_graph.module, ())
