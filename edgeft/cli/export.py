"""`edgeft export`: a run becomes one verified bundle per target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..core.errors import UsageError
from . import completion
from .frame import PATH, Console, Outcome
from .frame import command as _command


def numbers(context: click.Context, option: click.Parameter, value: str | None) -> tuple[float, ...]:
    """One number, or one a channel, separated by commas."""
    try:
        return tuple(float(part) for part in value.split(",")) if value else ()
    except ValueError as error:
        raise UsageError(
            f"is {value!r}, expected numbers such as 0.5 or 0.485,0.456,0.406", where=f"--{option.name}"
        ) from error


def pixels(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, ...]:
    """(height, width) of "224" or "192x256"."""
    parts = (value or "").lower().split("x")
    if not value:
        return ()
    if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"is {value!r}, expected pixels such as 224 or 192x256 (height x width)", where="--size")
    height, width = int(parts[0]), int(parts[-1])
    return height, width


@_command(
    "export",
    examples="""
    edgeft export --target jetson --target rpi5 --target intel-nuc
    edgeft export --target intel-nuc --auto
    edgeft export runs/blood-cells-20260101-120000 --target rpi4 --out bundles/second
    edgeft export model.onnx --data pictures/ --target rpi5 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
    """,
)
@click.argument("run", required=False, type=PATH, metavar="[RUN|MODEL.onnx]")
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
@click.option("--auto", is_flag=True, help="Make every candidate, measure them, and write the fastest that passes.")
@click.option("--device", metavar="D", help="--auto: where to measure.  [default: this machine]")
@click.option("--seconds", type=float, help="--auto: seconds of measuring, for each target.  [default: 120]")
@click.option("--allow-code", is_flag=True, help="Run the Python file that the recipe's model names.")
@click.option("--allow-download", is_flag=True, help="Download the weights that the recipe's model names.")
@click.option("--data", type=PATH, metavar="DIR", help="MODEL.onnx: pictures or arrays to calibrate on.")
@click.option(
    "--mean", callback=numbers, metavar="M[,M,M]", help="MODEL.onnx: subtracted from scaled pixels.  [default: 0]"
)
@click.option("--std", callback=numbers, metavar="S[,S,S]", help="MODEL.onnx: divides the difference.  [default: 1]")
@click.option("--scale", type=float, help="MODEL.onnx: pixels of 0 to 255 are multiplied by it.  [default: 1/255]")
@click.option("--size", callback=pixels, metavar="N|HxW", help="MODEL.onnx: pixels, where the file leaves them open.")
@click.option("--layout", type=click.Choice(["NCHW", "NHWC"]), help="MODEL.onnx: order of its input, if not found.")
@click.option("--output", metavar="NAME", help="MODEL.onnx: the output with the classes; '*': all are numbers.")
@click.option("--names", type=PATH, metavar="FILE", help="MODEL.onnx: names of its classes, a line each.")
def command(
    console: Console,
    run: Path | None,
    targets: tuple[str, ...],
    out: Path | None,
    ptq: bool,
    strict: bool,
    overrides: tuple[str, ...],
    overwrite: bool,
    auto: bool,
    device: str | None,
    seconds: float | None,
    allow_code: bool,
    allow_download: bool,
    data: Path | None,
    **preprocessing: Any,
) -> Outcome:
    """Write one verified bundle per target from RUN, or from a finished MODEL.onnx.

    RUN is lowered to each target's runtime and the artifact is verified in that runtime.

    MODEL.onnx is quantized as it is, without training, with the pictures of --data: 256 of any classes are enough.
    Without labels its agreement with the float model is judged; folders named by class (as many as the model has, or as
    in --names) give accuracy too. A model that is no classifier of pictures is judged by its numbers; whatever it takes
    can be given as .npy or .npz files.

    With --auto each target's candidates are made and measured: the runtimes that its profile lists, in the number
    formats that they write, the float model among them. The fastest that passes the gates is written; the report shows
    all of them, and why the others were not chosen.

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
        data=data,
        auto=auto,
        device=device,
        seconds=seconds,
        preprocessing={key: value for key, value in preprocessing.items() if value not in (None, ())},
        say=console.say,
    )

    return of_reports(reports, strict=strict)
