"""The rows of `benchmarks/defaults.py`: one file a row, each with its record `ROW`; a new file needs no other change.

A row trains the recipe that `edgeft init TASK` writes, with nothing edited but paths, exports it to the template's own
target, and measures the artifact on a test split that chose nothing. Beside it stands a simple baseline, and a goal.
A row of an expensive recipe may state fewer epochs (`Row.short`) for a run that shows less and ends sooner.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

#: what `trained` sets beside the paths, within `shortened`
_SHORTER: ContextVar[Mapping[str, Any]] = ContextVar("shorter", default=MappingProxyType({}))


@dataclass(frozen=True)
class Row:
    """`measure(data, out)` trains below `out` with the data folder `EDGEFT_DATA` and returns the row's `Figures`."""

    name: str
    task: str
    data: str  # in words: which data, how it is divided
    metric: str
    goal: float  # what int8 must reach on the test split
    baseline: str  # in words: what the baseline is
    measure: Callable[[Path, Path], Figures]
    higher_is_better: bool = True
    short: Mapping[str, Any] = field(default_factory=dict)  # {key of the recipe: value} of `--budget short`


@dataclass(frozen=True)
class Figures:
    """What a row came to on its test split; `parts` are int8 figures of parts of it (a voice, a class)."""

    float: float
    quantized: float
    ci95: tuple[float, float] | None  # of `quantized`
    n: int
    baseline: float
    minutes: float  # of tuning
    parts: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """One trained and exported recipe: run summary, report, and what both artifacts answered on the test split."""

    summary: dict[str, Any]
    report: dict[str, Any]
    bundle: Any
    float_outputs: dict[str, np.ndarray]
    quantized_outputs: dict[str, np.ndarray]
    targets: np.ndarray
    minutes: float

    @property
    def float(self) -> float:
        return float(self.bundle.task.score(self.float_outputs, self.targets))

    @property
    def quantized(self) -> float:
        return float(self.bundle.task.score(self.quantized_outputs, self.targets))


def rows() -> dict[str, Row]:
    """{name: row} of every file in this folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return {row.name: row for row in (importlib.import_module(f"{__name__}.{name}").ROW for name in names)}


@contextlib.contextmanager
def shortened(edits: Mapping[str, Any]) -> Iterator[None]:
    """Within it `trained` sets these keys of the recipe too."""
    token = _SHORTER.set(edits)
    try:
        yield
    finally:
        _SHORTER.reset(token)


def trained(task: str, data: Path, out: Path, edits: Mapping[str, Any] | None = None) -> Outcome:
    """`edgeft init TASK` with the path of the data, tuned and exported into `out`; what stands there is taken up.

    `edits` {key: value} are for paths in other keys (the file of a test split, say) and for what data cannot say itself
    (which class is void), and for nothing else but those of `shortened`.
    """
    import edgeft
    from edgeft.api import read_recipe
    from edgeft.config import starting_recipes, tables
    from edgeft.verify.evaluate import evaluate

    out.mkdir(parents=True, exist_ok=True)
    (out / "init.toml").write_text(starting_recipes.template(task))
    edited = {"data.path": str(data), **(edits or {}), **_SHORTER.get()}
    overrides = [f"{key}={tables.value_text(value)}" for key, value in edited.items()]
    recipe = read_recipe(out / "init.toml", overrides)
    say = lambda text: print(f"  {out.name}: {text}", flush=True)  # noqa: E731
    run, clock = out / "run", out / "minutes.json"

    if not (run / "summary.json").is_file():
        started = time.monotonic()
        edgeft.tune(recipe, run, resume=(run / "recipe.toml").is_file(), say=say)
        clock.write_text(json.dumps((time.monotonic() - started) / 60))

    (report,) = edgeft.export(run, recipe.export.targets[:1], out / "bundles", overwrite=True, say=say)
    bundle = edgeft.load(report["path"])
    found = evaluate(bundle, data)
    summary = json.loads((run / "summary.json").read_text())
    minutes = json.loads(clock.read_text()) if clock.is_file() else summary["seconds"] / 60

    return Outcome(summary, report, bundle, found.float_outputs, found.quantized_outputs, found.targets, minutes)


def interval(outcome: Outcome) -> tuple[float, float] | None:
    """The 95 % interval of the metric of the quantized artifact: Clopper-Pearson of counts, else a bootstrap."""
    from edgeft.measure import stats
    from edgeft.verify.accuracy import BOOTSTRAP_NEEDS, resampled

    scores = outcome.bundle.task.per_sample(outcome.quantized_outputs, outcome.targets)
    if scores is not None and np.isin(scores, (0, 1)).all():
        return stats.clopper_pearson(int(np.sum(scores)), len(scores))
    if len(outcome.targets) < BOOTSTRAP_NEEDS:
        return None

    metric = resampled(outcome.bundle.task, outcome.quantized_outputs, outcome.targets)
    return stats.paired_bootstrap(metric, len(outcome.targets), rounds=400)


def linked(folder: Path, files: Mapping[str, Path]) -> Path:
    """`folder` with links {name in it: file}: another division of files that stay where they are."""
    for name, path in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(path.resolve())
    return folder
