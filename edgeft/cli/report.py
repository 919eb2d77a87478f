"""`edgeft report`: one self-contained offline page."""

from __future__ import annotations

from pathlib import Path

import click

from .frame import Console, Outcome
from .frame import command as _command


@_command("report", examples="edgeft report bundles/rpi5 bundles/jetson --out report.html\nedgeft report baselines")
@click.argument("paths", nargs=-1, required=True, metavar="RUN|BUNDLE|BASELINES...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default="report.html", show_default=True, help="File to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def command(console: Console, paths: tuple[Path, ...], out: Path, overwrite: bool) -> Outcome:
    """Write RUNs, BUNDLEs and the history of BASELINES as one offline HTML page."""
    from .. import api

    page = api.report(paths, out, overwrite=overwrite)
    return Outcome({"report": str(page), "of": [str(path) for path in paths]}, f"wrote {page}")
