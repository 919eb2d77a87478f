"""`edgeft sensitivity`: what quantizing each layer of a run costs."""

from __future__ import annotations

from pathlib import Path

import click

from . import completion
from .frame import PATH, Console, Outcome
from .frame import command as _command


@_command(
    "sensitivity",
    examples="""
    edgeft sensitivity                                 # of the latest run, for the first target of its recipe
    edgeft sensitivity runs/blood-cells-20260101-120000 --target rpi5 --samples 128
    """,
)
@click.argument("run", required=False, type=PATH, metavar="[RUN]")
@click.option(
    "--target",
    metavar="NAME",
    shell_complete=completion.of_names(completion.targets),
    help="Board whose scheme is measured.  [default: the recipe's first]",
)
@click.option("--samples", type=click.IntRange(1, 1_000_000), help="Validation samples to measure on.  [default: 32]")
@click.option("--page", type=PATH, help="Write the ranking as an HTML page with a picture.")
@click.option("--ptq", is_flag=True, help="Calibrate anew, in place of the run's own quantized model.")
@click.option("--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Override a key of the recipe.")
@click.option("--allow-code", is_flag=True, help="Run the Python file that the recipe's model names.")
@click.option("--allow-download", is_flag=True, help="Download the weights that the recipe's model names.")
def command(
    console: Console,
    run: Path | None,
    target: str | None,
    samples: int | None,
    page: Path | None,
    ptq: bool,
    overrides: tuple[str, ...],
    allow_code: bool,
    allow_download: bool,
) -> Outcome:
    """Measure what quantizing each layer of RUN costs.

    Every layer is quantized alone, its weights and its activations apart, and the outputs are compared with those of
    the float network on validation samples. The names are those that quantize.keep_float takes.

    Without RUN the latest finished run below runs/ is taken.
    """
    from .. import api
    from ..config import places
    from ..core import files
    from ..report import mixed_precision, sensitivity

    file = None if page is None else places.claim_file(page, overwrite=False)
    result = api.sensitivity(
        run,
        target,
        samples=samples,
        ptq=ptq,
        overrides=overrides,
        allow_code=allow_code,
        allow_download=allow_download,
        say=console.say,
    )

    if file is not None:
        files.write_text(file, mixed_precision.sensitivity_page(result))
        result["page"] = str(file)

    return Outcome(result, sensitivity.text(result), details=sensitivity.text(result, most=0))
