"""`edgeft report`: one self-contained offline page."""

from __future__ import annotations

from pathlib import Path

import click

from .frame import PATH, Console, Outcome
from .frame import command as _command


@_command("report", examples="edgeft report bundles/rpi5 bundles/jetson --out report.html\nedgeft report baselines")
@click.argument("paths", nargs=-1, required=True, metavar="RUN|BUNDLE|BASELINES...", type=PATH)
@click.option("--out", type=PATH, help="File to write.  [default: report.html in RUN, of several in this folder]")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def command(console: Console, paths: tuple[Path, ...], out: Path | None, overwrite: bool) -> Outcome:
    """Write RUNs, BUNDLEs and the history of BASELINES as one offline HTML page."""
    from .. import api

    page = api.report(paths, out, overwrite=overwrite)
    return Outcome({"report": str(page), "of": [str(path) for path in paths]}, f"wrote {page}")
