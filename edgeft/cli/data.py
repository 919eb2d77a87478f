"""`edgeft data`: what edgeft understands of data, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import click

from .frame import PATH, SETTINGS, Console, Group, Outcome
from .frame import command as _command

FILES = {"check": "data:check_"}


@click.group(
    "data",
    cls=Group,
    files=FILES,
    context_settings=SETTINGS,
    examples="""
    edgeft data check recipe.toml
    edgeft data check data/blood-cells
    """,
)
def command() -> None:
    """Look at data: format, splits, labels, samples, imbalance and leaks."""


@_command(
    "check",
    examples="""
    edgeft data check recipe.toml
    edgeft data check data/blood-cells --out cells.html
    edgeft data check recordings --task speech --set data.units=words
    """,
)
@click.argument("path", metavar="RECIPE|PATH", type=PATH)
@click.option("--task", default="", metavar="TASK", help="The task that the data is for.  [default: by the format]")
@click.option("--format", "format_", default="", metavar="FORMAT", help="The data's format.  [default: recognized]")
@click.option("--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Set a key of the recipe.")
@click.option("--samples", type=click.IntRange(0, 200), default=10, show_default=True, help="Samples on the page.")
@click.option("--out", type=PATH, help="Page to write.  [default: data-<name>.html]")
@click.option("--overwrite", is_flag=True, help="Replace an existing --out.")
@click.option("--strict", is_flag=True, help="Exit with 1 where splits share samples or groups.")
def check_(
    console: Console,
    path: Path,
    task: str,
    format_: str,
    overrides: tuple[str, ...],
    samples: int,
    out: Path | None,
    overwrite: bool,
    strict: bool,
) -> Outcome:
    """Show what is understood of a RECIPE's data, or of a folder or file.

    Prints format, splits, labels, what was left out and why, imbalance and leaks between splits, and writes one offline
    page with samples drawn with their labels. Task and format of a PATH are recognized unless they are named.
    """
    from ..data_check import check_data
    from . import words

    checked = check_data(
        path,
        task=task,
        format=format_,
        overrides=overrides,
        samples=samples,
        out=out,
        overwrite=overwrite,
        say=console.say,
    )

    return Outcome(checked, words.data(checked), 1 if strict and checked["leaks"] else 0)
