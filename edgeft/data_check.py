"""`edgeft data check`: what is understood of data, and a page with samples drawn with their labels."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import data, tasks
from .config import places, recipe, tables
from .core import files
from .core.errors import DataError, UsageError
from .core.files import user_path
from .core.progress import phase
from .data.overview import drawn, overview
from .data.samples import Dataset
from .data.understand import stated_label, understand
from .report import data_page

#: steps of a recording that are drawn as traces, and columns of its inputs
TRACED, COLUMNS = 400, 6


def check_data(
    path: str | os.PathLike[str],
    *,
    task: str = "",
    format: str = "",
    overrides: Sequence[str] = (),
    samples: int = 10,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Say what is understood of data, and write a page with samples drawn with their labels: `edgeft data check`.

    `path` is a recipe (.toml), or a folder or file of data whose task and format are recognized unless `task` and
    `format` name them. `overrides` are "table.key=value" of the recipe. `samples` are drawn, 0 writes no page; `out` is
    the page, None is `data-<name>.html` in the current folder, which an earlier check may have written.

    Returns {"task", "format", "path", "splits" {name: samples}, "labels", "counts" {"unit", "by_label"}, "values",
    "left_out", "notes", "imbalance", "leaks", "recognized_by", "page"}; the lists hold sentences. Raises `RecipeError`,
    `DataError`, `UsageError` (a page that exists), `Missing`.
    """
    place = user_path(path)
    resolved, why = _recipe(place, task, format, overrides)
    file = _page(place, None if out is None else user_path(out), overwrite=overwrite) if samples else None

    if say is not None:
        say(f"reading {resolved.data.path} as {resolved.data.format} for {resolved.task}")

    record = tasks.get(resolved.task)
    with phase("reading the data"):
        dataset = data.open(resolved.data, resolved.task)
        result = {**overview(dataset, resolved.data, record), "name": _stem(place), "recognized_by": why}

    if file is not None:
        write_page(file, result, dataset, record, samples)

    return {**result, "page": None if file is None else str(file)}


def write_page(file: Path, result: Mapping[str, Any], dataset: Dataset, task: tasks.Task, samples: int = 10) -> None:
    """Write the page of an `overview`; raises `SystemFailure` where the system refuses."""
    files.write_text(file, data_page.render(result, drawn(dataset, task, samples), traces(dataset)))


def _recipe(path: Path, task: str, format_name: str, overrides: Sequence[str]) -> tuple[recipe.Recipe, str]:
    """The recipe of the data at `path`, and by what it was recognized ("" for a recipe)."""
    if path.suffix.lower() == ".toml" and not path.is_dir():
        if task or format_name:
            raise UsageError("a recipe names its task and format", where=str(path), remedy="leave out --task, --format")
        return recipe.override(recipe.load(path), overrides), ""

    if (path / "recipe.toml").is_file() and (path / "summary.json").is_file():
        raise UsageError("is a run, not data", where=str(path), remedy=f"edgeft data check {path / 'recipe.toml'}")

    understood = understand(path, task, format_name, stated_label(overrides))
    plain = recipe.Recipe(task=understood.task, name=_stem(path), data=understood.data)
    settings = "".join(f"; data.{key} = {tables.value_text(value)}" for key, value in understood.keys.items())
    return recipe.override(plain, overrides), understood.why + settings


def _stem(path: Path) -> str:
    """The name of a folder (of a recipe: of its folder) or of a file without its endings, in portable letters."""
    place = path.resolve()
    name = place.parent.name if path.suffix.lower() == ".toml" else place.name
    name = name if path.is_dir() else name.split(".")[0]
    return re.sub(r"[^\w.-]+", "-", name).strip("-._") or "data"


def _page(path: Path, out: Path | None, *, overwrite: bool) -> Path:
    """The page to write; one of an earlier check may be replaced where the user names none."""
    if out is not None:
        return places.claim_file(out, overwrite=overwrite)
    file = Path(f"data-{_stem(path)}.html")
    ours = (
        file.is_file()
        and f'content="{data_page.GENERATOR}"' in file.read_text(encoding="utf-8", errors="replace")[:2000]
    )
    return places.claim_file(file, overwrite=overwrite or ours)


def traces(dataset: Dataset) -> dict[str, np.ndarray]:
    """{name: values (T,)} of the first steps of recorded control in their order: what was done, then what was read."""
    name = next(iter(dataset.splits), "")
    split = dataset.split(name) if name else None
    if split is None or not len(split) or split.targets.dtype.kind != "f" or split.targets.ndim != 2:
        return {}
    if split.targets.shape[1] != len(dataset.labels):  # numbers of another kind than one column a label
        return {}

    count = min(TRACED, len(split))
    columns = {str(label): split.targets[:count, k] for k, label in enumerate(dataset.labels)}
    try:
        inputs = [np.asarray(split.raw(i)) for i in range(count)]
    except DataError:
        return columns

    if inputs[0].ndim == 1 and inputs[0].dtype.kind == "f":
        state = np.stack(inputs)[:, :COLUMNS]
        columns |= {f"input {k}": state[:, k] for k in range(state.shape[1])}

    return columns
