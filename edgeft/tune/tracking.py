"""A run in a tracker of experiments: the recipe as parameters, epochs, and the float, PTQ and QAT rows at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..config import recipe
from ..config.recipe import Recipe
from ..core.errors import RunError
from ..session import trackers

#: files of a run that a tracker with artifacts keeps
_FILES = ("recipe.toml", "summary.json", "metrics.jsonl")


def begin(accelerator: Accelerator, asked: Recipe, out: Path) -> None:
    """Open the run in its tracker; one that is resumed goes on in the same run of MLflow and of Weights & Biases.

    Raises `RunError` where the tracker refuses it.
    """
    name = asked.train.tracker
    config = dict(_flat(recipe.as_table(asked)))
    try:
        accelerator.init_trackers(asked.name, config=config, init_kwargs=_options(name, out))
    except Exception as error:  # each tracker has errors of its own: no login, no server, a store that is unknown
        accelerator.trackers.clear()  # they cannot be ended either
        reason = (str(error).splitlines() or [""])[0][:300] or type(error).__name__
        raise RunError(
            f"{name} cannot open a run: {reason}",
            where="train.tracker",
            remedy="log in or set the tracker's server or offline mode (docs/tracking.md), or leave out train.tracker",
        ) from error

    if name not in trackers.RUN_KEYS or not accelerator.is_main_process:
        return

    run = accelerator.get_tracker(name, unwrap=True)
    if name == "mlflow":
        import mlflow

        where = {"run_id": run.info.run_id, "tracking_uri": mlflow.get_tracking_uri()}
    else:
        where = {"id": run.id, "project": run.project, "entity": run.entity}
    trackers.remember(out, name, where)


def _options(name: str, out: Path) -> dict[str, dict[str, Any]]:
    """What `init_trackers` hands on: the run's name, and which run it goes on in."""
    where = trackers.remembered(out, name)
    if name == "mlflow":
        return {"mlflow": {"run_name": out.name, **({"run_id": where["run_id"]} if where else {})}}
    if name == "wandb":
        earlier = {"id": where["id"], "resume": "allow"} if where else {}
        return {"wandb": {"name": out.name, **earlier}}
    return {}


def finished(accelerator: Accelerator, asked: Recipe, out: Path, summary: Mapping[str, Any]) -> None:
    """The rows of a finished run, by scheme and for the first target; a tracker with artifacts gets the small files."""
    rows = {f"test/{key}": summary.get(key) for key in ("float", "ptq", "quantized")}
    for scheme, result in summary["schemes"].items():
        rows |= {f"test/{scheme}/{key}": result.get(key) for key in ("ptq", "quantized")}

    figures = {key: float(value) for key, value in rows.items() if isinstance(value, (int, float))}
    name = asked.train.tracker
    accelerator.log(figures, step=summary["steps"])
    if not accelerator.is_main_process:
        return

    if name == "mlflow":
        import mlflow

        for file in _FILES:
            mlflow.log_artifact(str(out / file), "run")
    elif name == "wandb":
        opened = accelerator.get_tracker("wandb", unwrap=True)
        trackers.log_files(opened, "run", "run", [out / file for file in _FILES])


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The recipe's keys with dots, values as texts where trackers take no others."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, (bool, int, float)) else str(value)
