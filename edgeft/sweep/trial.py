"""One trial: a run directory like any other, told to go no further where it falls behind or misses a budget."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import recipe as recipes
from ..config.recipe import Recipe
from ..config.target import Target
from ..core import files, strict_json
from ..core.metric import Metric
from ..devices.device import Device
from ..export.trial import trial as try_conversion
from ..report.swept import COSTS
from ..session.session import Say, Session
from ..tune.run import tune
from ..tune.watch import Watch
from . import cost, space, stopping
from .study import FIGURES, Study, Work

#: the first stage of a run; then come its schemes
FLOAT = "float"
SUMMARY = "summary.json"


class Stopped(Exception):
    """A trial ends early; the message says why."""


@dataclass(frozen=True)
class Plan:
    """What all trials of a sweep share. `costs` are measured before training, the latency on
    `device`; `objectives` are compared."""

    base: Recipe
    metric: Metric
    profile: Target
    objectives: tuple[str, ...]
    costs: tuple[str, ...]
    device: Device
    stops: bool
    allow_code: bool = False
    allow_download: bool = False


def run(plan: Plan, study: Study, work: Work, say: Say) -> list[float]:
    """Train one trial in its folder; returns its objectives. Raises `Stopped` and what `tune` raises.

    The trial's history and figures are kept in the study as they come, so that other processes compare with them.
    """
    folder = study.place(work.number)
    asked = space.apply(plan.base, study.dimensions, work.values)
    resume = work.again and (folder / "recipe.toml").is_file()
    if not resume:
        clear(folder)

    summary = tune(
        asked,
        folder,
        resume=resume,
        allow_code=plan.allow_code,
        allow_download=plan.allow_download,
        say=say,
        try_conversion=try_conversion,
        watch=_watch(plan, study, work, asked),
    )
    figures = _figures(plan, summary)
    study.figures(work.record, **figures)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    measured = {**work.record.user_attrs.get(FIGURES, {}), **figures}

    return [float(measured["validation" if name == "metric" else COSTS[name][0]]) for name in plan.objectives]


def clear(folder: Path) -> None:
    """Empty the folder of a trial that begins anew, without giving up its lock."""
    with files.system_errors(folder):
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _watch(plan: Plan, study: Study, work: Work, asked: Recipe) -> Watch:
    stages: list[str] = []

    def opened(session: Session) -> None:
        stages.extend([FLOAT, *session.schemes])
        figures = work.record.user_attrs.get(FIGURES) or cost.cost(session, plan.profile, plan.costs, plan.device)
        study.figures(work.record, **figures)
        if why := cost.over_budget(figures, asked.gates):
            raise Stopped(why)

    def epoch(stage: str, number: int, validation: float) -> None:
        step = stages.index(stage) * stopping.STAGE + number
        history = study.note(work.record, step, validation)
        if not plan.stops:
            return

        median = stopping.behind(history, study.histories(work.number), step, plan.metric)
        if median is not None:
            best = plan.metric.format(stopping.best_by(history, step, plan.metric))
            where = f"epoch {number} of {stage}"
            raise Stopped(f"behind at {where}: {best}, the others' median {plan.metric.format(median)}")

    return Watch(opened, epoch)


def _figures(plan: Plan, summary: dict[str, Any]) -> dict[str, Any]:
    """The validation metric of the model that would be exported for the plan's target, and of the float model."""
    scheme = summary["schemes"].get(plan.profile.scheme.name) or {}
    validation = scheme.get("validation", summary.get("validation"))
    return {
        "validation": validation,
        "float_validation": summary.get("validation"),
        "seconds": summary["seconds"],
        "method": scheme.get("method", "none"),
    }


def test_figures(folder: Path) -> dict[str, Any]:
    """What the summary of a finished trial says of the test split; for the chosen trial alone."""
    summary = strict_json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    return {key: summary.get(key) for key in ("float", "ptq", "quantized", "n")}


def recipe_text(plan: Plan, dimensions: Sequence[space.Dimension], values: dict[str, Any]) -> str:
    """The recipe of a trial as TOML."""
    return recipes.dumps(space.apply(plan.base, dimensions, values))
