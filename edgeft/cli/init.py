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
    edgeft init --data photos/          # the task and the keys of [data] as the data are recognized
    edgeft init tabular-values --data houses.csv --set "data.label=Sale Price"
    edgeft init --data recordings --set model.source=transformers --set model.weights=models/wav2vec2
    """,
)
@click.argument("task", default="", shell_complete=completion.of_names(completion.tasks))
@click.option(
    "--data",
    "data_path",
    type=PATH,
    default=None,
    help="A folder or file of data, whose task and format are recognized: the recipe reads it.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.of_names(completion.targets),
    help="Board to export for (see edgeft targets); may be repeated.",
)
@click.option(
    "--format", "format_", default="", metavar="FORMAT", help="With --data: its format.  [default: recognized]"
)
@click.option("--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Set a key of the recipe.")
@click.option("--out", type=PATH, default="recipe.toml", show_default=True, help="File to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def command(
    console: Console,
    task: str,
    data_path: Path | None,
    targets: tuple[str, ...],
    format_: str,
    overrides: tuple[str, ...],
    out: Path,
    overwrite: bool,
) -> Outcome:
    """Write a commented recipe.toml for TASK, or for data of your own (`--data`)."""
    from .. import starting_recipe
    from ..config import places, recipe, starting_recipes, target
    from ..core import files
    from ..core.errors import UsageError

    for name in targets:
        target.load(name)

    if format_ and data_path is None:
        raise UsageError("--format says how the data at --data are written", remedy="name them with --data PATH")

    why = ""
    if data_path is None:
        task = task or recipe.default_task()
        text = starting_recipes.template(task)
        text = starting_recipe.for_targets(text, task, targets, console.say)
        text = starting_recipe.with_overrides(starting_recipe.for_source(text, task, overrides), overrides)
    else:
        text, understood = starting_recipe.for_data(data_path, task, targets, format_, overrides, console.say)
        task, why = understood.task, understood.why

    places.claim_file(out, overwrite=overwrite)
    files.write_text(out, text)
    if data_path is None:
        return Outcome({"recipe": str(out), "task": task}, f"wrote {out}: edit it, then `edgeft tune {out}`")

    words = f"wrote {out} for the task {task}, recognized by {why}"
    further = f"look at the data with `edgeft data check {out}`, then `edgeft tune {out}`"
    return Outcome({"recipe": str(out), "task": task, "recognized_by": why}, f"{words}: {further}")
