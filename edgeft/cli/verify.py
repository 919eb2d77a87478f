"""`edgeft verify`: is a bundle still what it was, and does it hold here?"""

from __future__ import annotations

from pathlib import Path

import click

from .frame import Console, Outcome
from .frame import command as _command


@_command(
    "verify",
    examples="""
    edgeft verify bundles/rpi5                      # files, parity on its own samples, latency
    edgeft verify bundles/* --data data/blood       # accuracy and agreement too
    """,
)
@click.argument("bundles", nargs=-1, required=True, metavar="BUNDLE...", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Labelled data in the format of the recipe.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime.  [default: as exported]")
@click.option(
    "--state", type=click.Path(path_type=Path), help="What a device has learned.  [default: the bundle's own state.npz]"
)
@click.option("--strict", is_flag=True, help="What is inconclusive or could not be verified fails (exit 1).")
def command(
    console: Console,
    bundles: tuple[Path, ...],
    data: Path | None,
    threads: int | None,
    state: Path | None,
    strict: bool,
) -> Outcome:
    """Re-check BUNDLEs on this machine."""
    from .. import api
    from .outcome import of_reports

    reports = [api.verify(bundle, data, threads=threads, state=state, say=console.say) for bundle in bundles]
    return of_reports(reports, strict=strict)
