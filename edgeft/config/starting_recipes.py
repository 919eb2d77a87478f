"""Recipes that come with the package: a template a task (`edgeft init`), and the embedded one that needs no file."""

from __future__ import annotations

from importlib import resources

from ..core.errors import InternalError, RecipeError
from ..plugins import TASKS
from . import recipe, tables


def _packaged(*path: str) -> str:
    return resources.files("edgeft").joinpath(*path).read_text(encoding="utf-8")


def template(task: str = "") -> str:
    """A commented recipe for `task`, or for the default task: TOML that loads as it is.

    Raises `UsageError` for an unknown task and for one without a template.
    """
    return str(TASKS.get(task or recipe.default_task()).template_text())


def embedded() -> recipe.Recipe:
    """The recipe that `edgeft tune` runs when none is given: real digits and pretrained weights that pip brings."""
    text = _packaged("config", "embedded.toml")
    try:
        return recipe.from_table(
            tables.parse(tables.Source("embedded.toml", text, RecipeError)), "embedded.toml", text=text
        )
    except RecipeError as problem:
        raise InternalError(f"the embedded recipe is broken: {problem}") from problem
