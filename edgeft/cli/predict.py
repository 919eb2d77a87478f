"""`edgeft predict`: the predictions of a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from .frame import PATH, Console, Outcome, trust_option
from .frame import command as _command


@_command("predict", examples="edgeft predict bundles/rpi5 photo.png other.jpg")
@click.argument("bundle", type=PATH)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads of the runtime.  [default: as exported]")
@click.option("--out", type=PATH, help="New folder for the overlay and the mask of a segmentation.")
@click.option(
    "--state", type=click.Path(path_type=Path), help="State file of a personalization.  [default: state.npz in BUNDLE]"
)
@trust_option
@click.option(
    "--untrusted", is_flag=True, help="Run the model in a process of its own, with limits of memory and time."
)
@click.option("--overwrite", is_flag=True, help="Write into an --out that is not empty.")
def command(
    console: Console,
    bundle: Path,
    inputs: tuple[str, ...],
    threads: int | None,
    out: Path | None,
    state: Path | None,
    trust: Path | None,
    untrusted: bool,
    overwrite: bool,
) -> Outcome:
    """Run BUNDLE on real INPUTs and print its predictions.

    Inputs that cannot be read are named, and the exit code is that of the first one (3).
    """
    from .. import api
    from ..core.errors import from_dict
    from . import words

    predictions = api.predict(
        bundle, inputs, threads=threads, out=out, overwrite=overwrite, state=state, trust=trust, untrusted=untrusted
    )
    errors = [result["error"] for result in predictions if "error" in result]
    for error in errors:
        click.echo(f"error: {from_dict(error)}", err=True)
    answers = [result for result in predictions if "error" not in result]
    code = int(errors[0]["exit_code"]) if errors else 0
    return Outcome({"bundle": str(bundle), "predictions": predictions}, words.predictions(answers), code)
