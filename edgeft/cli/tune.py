"""`edgeft tune`: a recipe becomes a run."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import click

from ..core.errors import UsageError
from .frame import PATH, Console, Outcome
from .frame import command as _command


@_command(
    "tune",
    examples="""
    edgeft tune                                        # the embedded default: a pretrained net on real digits
    edgeft tune recipe.toml --dry-run                  # trainable parameters, memory, compatibility with the targets
    edgeft tune recipe.toml --set train.epochs=3 --set update.policy=head
    edgeft tune --resume runs/blood-cells-20260101-120000
    """,
)
@click.argument("recipe", required=False, type=PATH)
@click.option("--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Override a key of the recipe.")
@click.option("--out", type=PATH, help="Run directory.  [default: runs/<name>-<time>]")
@click.option("--resume", type=PATH, metavar="DIR", help="Continue an interrupted run.")
@click.option(
    "--dry-run", is_flag=True, help="Read data and model, print what would be done, write nothing but --page."
)
@click.option("--page", type=PATH, help="With --dry-run: write samples with labels as a page.")
@click.option(
    "--until-gates-pass",
    is_flag=True,
    help="As --set quantize.method=auto: calibrate, else train, else return layers to float, until the limits hold.",
)
@click.option("--overwrite", is_flag=True, help="Write into an --out that is not empty.")
@click.option("--allow-code", is_flag=True, help="Run the Python file that the recipe's model names.")
@click.option("--allow-download", is_flag=True, help="Download the weights that the recipe's model names.")
def command(
    console: Console,
    recipe: Path | None,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: Path | None,
    dry_run: bool,
    page: Path | None,
    until_gates_pass: bool,
    overwrite: bool,
    allow_code: bool,
    allow_download: bool,
) -> Outcome:
    """Fine-tune by RECIPE, quantization-aware.

    First the float baseline, then quantization-aware training of the layers that the update policy lets move.

    Without RECIPE the embedded default runs, on data and weights that come with the install.
    """
    from .. import api
    from ..config import places
    from ..report import text
    from . import words

    if resume is not None and (recipe is not None or out is not None):
        raise UsageError(
            "--resume continues a run by its own recipe, in its own folder: leave out RECIPE and --out",
            remedy=f"edgeft tune --resume {shlex.quote(str(resume))}",
        )
    if page is not None and not dry_run:
        raise UsageError("--page goes with --dry-run", remedy="edgeft data check RECIPE writes it, too")

    overrides = (*overrides, "quantize.method=auto") if until_gates_pass else overrides
    loaded = api.read_recipe(recipe, overrides) if resume is None else api.read_run_recipe(resume, overrides)
    folder = resume or out or places.new_run(loaded.name)
    if not dry_run:
        console.resumable = folder
    if recipe is None and resume is None:
        _name_unread_recipes(console, Path())

    result = api.tune(
        loaded,
        folder,
        resume=resume is not None,
        overwrite=overwrite,
        dry_run=dry_run,
        page=page,
        allow_code=allow_code,
        allow_download=allow_download,
        say=console.say,
    )
    silent = os.environ.get("RANK", "0") != "0"
    if dry_run:
        return Outcome(result, words.plan(result), details=words.learns(result), silent=silent)

    next_command = f"next: edgeft export {shlex.quote(str(folder))}"
    return Outcome(result, f"{text.tuned(result, folder=str(folder))}\n{next_command}", silent=silent)


def _name_unread_recipes(console: Console, folder: Path) -> None:
    """Say that the embedded recipe runs though `folder` has recipes, which whoever wrote them may expect to be read."""
    recipes = [path for path in sorted(folder.glob("*.toml")) if _is_recipe(path)]
    if recipes:
        named = " or ".join(f"`edgeft tune {shlex.quote(path.name)}`" for path in recipes[:3])
        console.say(f"warning: no RECIPE is named, so the embedded recipe runs on its own data; for yours: {named}")


def _is_recipe(path: Path) -> bool:
    try:
        return re.search(r"(?m)^task\s*=", path.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False
