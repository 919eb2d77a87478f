"""The start of a run: its directory, and the recipe that it is resumed with."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from ..config import recipe
from ..config.recipe import Recipe
from ..core import files
from ..core.errors import UsageError
from ..session.session import LEARNED

#: file of a run with the plan of a sparse update
PLAN = "plan.json"


def remove_earlier(out: Path) -> None:
    """Remove the files of an earlier run from a folder that is overwritten, so that none is taken for this run's."""
    with files.system_errors(out):
        for folder in ("checkpoints", LEARNED):
            shutil.rmtree(out / folder, ignore_errors=True)
        for path in (out / "summary.json", out / "metrics.jsonl", out / PLAN, *out.glob("*.safetensors")):
            path.unlink(missing_ok=True)


def check_same_training(recipe_: Recipe, resolved: Recipe, out: Path) -> None:
    """A run is resumed with what it was begun with; only targets, gates and quantization may be added to.

    `resolved` is the recipe with its weights pinned, as the run recorded it. Permission to download may differ.
    """
    path = out / "recipe.toml"
    if not path.exists():
        raise UsageError(f"{out} is not a run directory: it has no recipe.toml", remedy="leave out --resume")

    before = recipe.load(path)
    models = [dataclasses.replace(r.model, allow_download=before.model.allow_download) for r in (recipe_, resolved)]
    for table in ("task", "model", "data", "train", "update"):
        values = models if table == "model" else [getattr(recipe_, table)]
        if getattr(before, table) not in values:
            raise UsageError(
                f"[{table}] differs from the run's own recipe",
                where=str(path),
                remedy="resume with the same values, or start a new run in another --out",
            )
