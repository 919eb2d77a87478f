"""`edgeft export`: a run becomes one verified bundle per target."""

from __future__ import annotations

from pathlib import Path

import click

from . import completion
from .frame import PATH, Console, Outcome
from .frame import command as _command


@_command(
    "export",
    examples="""
    edgeft export --target jetson --target rpi5 --target intel-nuc
    edgeft export runs/blood-cells-20260101-120000 --target rpi4 --out bundles/second
    """,
)
@click.argument("run", required=False, type=PATH)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.of_names(completion.targets),
    help="Board to export for (see edgeft targets); may be repeated.",
)
@click.option("--out", type=PATH, help="Folder of the bundles.  [default: bundles]")
@click.option("--ptq", is_flag=True, help="Use post-training quantization for a target whose scheme the run lacks.")
@click.option("--strict", is_flag=True, help="Fail (exit 1) where a gate is inconclusive or could not be verified.")
@click.option("--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Override a key of the recipe.")
@click.option("--overwrite", is_flag=True, help="Replace existing bundles.")
@click.option("--allow-code", is_flag=True, help="Run the Python file that the recipe's model names.")
@click.option("--allow-download", is_flag=True, help="Download the weights that the recipe's model names.")
def command(
    console: Console,
    run: Path | None,
    targets: tuple[str, ...],
    out: Path | None,
    ptq: bool,
    strict: bool,
    overrides: tuple[str, ...],
    overwrite: bool,
    allow_code: bool,
    allow_download: bool,
) -> Outcome:
    """Write one verified bundle per target from RUN.

    RUN is lowered to each target's runtime and the artifact is verified in that runtime.

    Without RUN the latest finished run below runs/ is taken; without --target those of its recipe.
    """
    from .. import api
    from .outcome import of_reports

    reports = api.export(
        run,
        targets,
        out,
        ptq=ptq,
        strict=strict,
        overwrite=overwrite,
        overrides=overrides,
        allow_code=allow_code,
        allow_download=allow_download,
        say=console.say,
    )
    return of_reports(reports, strict=strict)
