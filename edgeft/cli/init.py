"""`edgeft init`: a commented recipe to start from."""

from __future__ import annotations

from pathlib import Path

import click

from . import completion
from .frame import PATH, Console, Outcome
from .frame import command as _command


@_command(
    "init",
    examples="""
    edgeft init                         # recipe.toml for image classification
    edgeft init classify --out blood.toml
    edgeft init keyword                 # short clips of sound
    edgeft init text-classify           # reviews, tickets, messages
    """,
)
@click.argument("task", default="", shell_complete=completion.of_names(completion.tasks))
@click.option("--out", type=PATH, default="recipe.toml", show_default=True, help="File to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def command(console: Console, task: str, out: Path, overwrite: bool) -> Outcome:
    """Write a commented recipe.toml for TASK."""
    from ..config import places, recipe, starting_recipes
    from ..core import files

    task = task or recipe.default_task()
    text = starting_recipes.template(task)
    places.claim_file(out, overwrite=overwrite)
    files.write_text(out, text)
    return Outcome({"recipe": str(out), "task": task}, f"wrote {out}: edit it, then `edgeft tune {out}`")
