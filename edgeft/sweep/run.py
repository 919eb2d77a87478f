"""The loop of a sweep: work is asked for until there is none; every answer is kept before the next trial begins."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import recipe as recipes
from ..config import tables
from ..config.recipe import Recipe
from ..core import files
from ..core.errors import InvalidInput, RunError, UsageError, need
from ..plugins import TASKS
from ..report.swept import COSTS
from ..session.session import Say, silent
from . import cost, results, space, trial
from .space import Dimension
from .study import SAMPLERS, Study, Work, directions
from .trial import Plan, Stopped

#: files of the folder that say what is searched
SETTINGS, RECIPE = "sweep.toml", "recipe.toml"
#: trials that fail before the sweep gives up, while none has come through
HOPELESS = 3


def begin(
    folder: Path,
    base: Recipe,
    dimensions: Sequence[Dimension],
    *,
    target: str = "",
    device: str = "",
    minimize: Sequence[str] = (),
    stops: bool = True,
    sampler: str = "tpe",
    seed: int = 0,
) -> None:
    """Write what a new sweep in `folder` searches. Raises `UsageError` and `RecipeError` before anything is written."""
    need("optuna", "sweep")
    space.check(base, dimensions)
    name = target or base.export.targets[0]
    settings = {
        "schema": 1,
        "target": name,
        "device": device,
        "minimize": list(dict.fromkeys(minimize)),
        "stop": stops,
        "sampler": sampler,
        "seed": seed,
    }
    _plan(base, settings)  # refuses what cannot be measured

    lines = [f"{key} = {tables.value_text(value)}" for key, value in settings.items()]
    lines += [
        "",
        "[space]",
        *(f'"{key}" = {tables.value_text(text)}' for key, text in space.as_table(dimensions).items()),
    ]

    files.write_text(folder / RECIPE, recipes.dumps(base))
    files.write_text(folder / SETTINGS, "\n".join(lines) + "\n")


def _settings(folder: Path) -> tuple[dict[str, Any], list[Dimension]]:
    path = folder / SETTINGS
    if not path.is_file():
        raise RunError(
            "this is no sweep: it has no sweep.toml",
            where=str(folder),
            remedy="edgeft sweep RECIPE --out DIR begins one",
        )

    source = tables.read(path, RunError)
    settings = tables.parse(source)
    expected: dict[str, type] = {
        "target": str,
        "minimize": list,
        "stop": bool,
        "sampler": str,
        "seed": int,
        "space": dict,
    }

    for key, kind in expected.items():
        if type(settings.get(key)) is not kind:
            raise source.fail((key,), f"{key!r} is missing or of another type", "take the file as edgeft wrote it")

    if type(settings.get("device", "")) is not str:  # sweeps of earlier versions have none
        raise source.fail(("device",), "'device' is no text", "take the file as edgeft wrote it")
    if settings["sampler"] not in SAMPLERS or not set(settings["minimize"]) <= set(COSTS):
        raise source.fail(("sampler",), "a sampler or an objective is not known", "take the file as edgeft wrote it")
    return settings, space.from_table(settings["space"])


def _plan(base: Recipe, settings: Mapping[str, Any], **allowed: bool) -> Plan:
    profile = cost.profile_of(settings["target"], base)
    base = recipes.override(base, [f'export.targets=["{settings["target"]}"]'])
    objectives = ("metric", *settings["minimize"])
    costs, device = cost.check(profile, cost.needed(objectives, base.gates), objectives, settings.get("device", ""))
    metric = TASKS.get(base.task).metric
    return Plan(base, metric, profile, objectives, costs, device, bool(settings["stop"]), **allowed)


def go_on(
    folder: Path,
    *,
    trials: int,
    seconds: float | None = None,
    allow_code: bool = False,
    allow_download: bool = False,
    say: Say = silent,
) -> dict[str, Any]:
    """Work on the sweep in `folder` until it has `trials` trials or `seconds` are over; returns sweep.json's content.

    Any number of processes may do so at once. Raises `RunError` for a folder that is no sweep, the error of a trial
    that every trial would have, and `SystemFailure` where the system refuses to write; the trial is taken up again.
    """
    settings, dimensions = _settings(folder)
    base = recipes.load(folder / RECIPE)
    space.check(base, dimensions)
    plan = _plan(base, settings, allow_code=allow_code, allow_download=allow_download)
    stops = plan.stops and not any(dimension.key == "train.epochs" for dimension in dimensions)
    plan = Plan(**{**plan.__dict__, "stops": stops})
    study = Study(folder, dimensions, directions(plan.metric, plan.objectives), settings["sampler"], settings["seed"])
    deadline = None if seconds is None else time.monotonic() + seconds

    while deadline is None or time.monotonic() < deadline:
        with study.work(trials) as work:
            if work is None:
                break
            _one_trial(plan, study, work, say)
        results.write(plan, study, results.collect(plan, study))

    result = results.collect(plan, study)
    results.write(plan, study, result)
    return result


def _one_trial(plan: Plan, study: Study, work: Work, say: Say) -> None:
    """Run a trial and tell the study what became of it."""
    shown = ", ".join(f"{key}={_short(value)}" for key, value in work.values.items())
    say(f"trial {work.number}{', taken up again' if work.again else ''}: {shown}")
    try:
        values = trial.run(plan, study, work, lambda text: say(f"  {text}"))
    except Stopped as stop:
        study.prune(work.record, str(stop))
        say(f"trial {work.number}: stopped, {stop}")
    except UsageError:
        raise
    except (InvalidInput, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "out of memory" not in str(error).lower():
            raise
        why = getattr(error, "message", "") or f"out of memory: {error}".strip(": ").splitlines()[0]
        study.fail(work.record, why)
        say(f"trial {work.number}: failed, {why}")
        _give_up(study, error)
    else:
        study.complete(work.record, values)
        say(f"trial {work.number}: {plan.metric.name} {plan.metric.format(values[0])} on validation")


def _give_up(study: Study, error: Exception) -> None:
    """Raise the error of a trial where it is the recipe's own: several failed, and none has come through."""
    failed, good = len(study.trials("FAIL")), len(study.trials("COMPLETE")) + len(study.trials("PRUNED"))
    if failed >= HOPELESS and not good and isinstance(error, InvalidInput):
        error.remedy = "; ".join(
            filter(None, [error.remedy, f"the first {failed} trials failed, and none came through"])
        )
        raise error


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
