"""A run in a tracker of experiments: the recipe as parameters, epochs, and the float, PTQ and QAT rows at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ..config import recipe
from ..config.recipe import Recipe
from ..session import trackers


def begin(accelerator: Accelerator, asked: Recipe, out: Path) -> None:
    """Open the run in its tracker; one that is resumed goes on in the same run where that is MLflow's."""
    name = asked.train.tracker
    where = trackers.remembered(out) if name == "mlflow" else {}
    options = {"run_name": out.name, **({"run_id": where["run_id"]} if where else {})}
    config = dict(_flat(recipe.as_table(asked)))
    accelerator.init_trackers(asked.name, config=config, init_kwargs={"mlflow": options} if name == "mlflow" else {})

    if name == "mlflow" and accelerator.is_main_process:
        import mlflow

        run = accelerator.get_tracker("mlflow", unwrap=True)
        trackers.remember(out, {"run_id": run.info.run_id, "tracking_uri": mlflow.get_tracking_uri()})


def finished(accelerator: Accelerator, asked: Recipe, out: Path, summary: Mapping[str, Any]) -> None:
    """The rows of a finished run, by scheme and for the first target; MLflow also gets the run's small files."""
    rows = {f"test/{key}": summary.get(key) for key in ("float", "ptq", "quantized")}
    for scheme, result in summary["schemes"].items():
        rows |= {f"test/{scheme}/{key}": result.get(key) for key in ("ptq", "quantized")}

    figures = {key: float(value) for key, value in rows.items() if isinstance(value, (int, float))}
    accelerator.log(figures, step=summary["steps"])
    if asked.train.tracker == "mlflow" and accelerator.is_main_process:
        import mlflow

        for file in ("recipe.toml", "summary.json", "metrics.jsonl"):
            mlflow.log_artifact(str(out / file), "run")


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The recipe's keys with dots, values as texts where trackers take no others."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, (bool, int, float)) else str(value)
