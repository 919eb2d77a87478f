"""`edgeft predict`: the predictions of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .frame import PATH, Console, Outcome, WithNumbers, trust_option
from .frame import command as _command

_EXAMPLES = """
    edgeft predict bundles/rpi5 photo.png other.jpg
    edgeft predict bundles/rpi5 - < rows.csv        # a table, or a text or row of numbers a line
    edgeft predict bundles/rpi5 -- "- not so good"  # a text that begins with a dash
    edgeft predict bundles/rpi5 --stream recording.wav
    arecord -t raw -f S16_LE -c 1 -r 16000 | edgeft predict bundles/rpi5 --stream -
"""


@_command("predict", examples=_EXAMPLES, cls=WithNumbers)
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
@click.option("--stream", is_flag=True, help="Listen to INPUT, a sound or - (standard input), and print detections.")
@click.option("--rate", type=click.IntRange(1), metavar="HERTZ", help="Rate of bare samples.  [default: the model's]")
@click.option("--step", type=float, metavar="SECONDS", help="From answer to answer of a stream.  [default: 0.1]")
@click.option("--smoothing", type=float, metavar="SECONDS", help="Time that answers are averaged over.  [default: 0.5]")
@click.option("--threshold", type=float, metavar="0..1", help="Least average of a detection.  [default: 0.7]")
@click.option("--refractory", type=float, metavar="SECONDS", help="Pause after a detection.  [default: 0.75]")
@click.option("--ignore", multiple=True, metavar="LABEL", help="A further label of a stream that is no keyword.")
@click.option("--truth", type=PATH, metavar="FILE", help="Label track (Audacity) to judge the detections by.")
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
    stream: bool,
    **listening: Any,
) -> Outcome:
    """Run BUNDLE on real INPUTs and print its predictions.

    An INPUT - is standard input: a table, or a text or row of numbers a line. Inputs that cannot be read are named, and
    the exit code is that of the first one (3). With --stream a model of keywords or
    of speech listens to each INPUT from its beginning to its end, each detection or word is printed once it is certain.
    """
    from .. import api
    from ..core.errors import from_dict
    from . import words

    inputs = tuple(name[1:] if name.startswith(" -") else name for name in inputs)
    asked = {name: value for name, value in listening.items() if value not in (None, ())}
    if stream:
        _refuse({"--out": out, "--untrusted": untrusted, "--overwrite": overwrite}, "does not go with --stream")
        return _listen(console, bundle, inputs, asked, {"threads": threads, "state": state}, trust)

    _refuse({f"--{name}": True for name in asked}, "is for a stream", "give --stream as well")
    predictions = api.predict(
        bundle, inputs, threads=threads, out=out, overwrite=overwrite, state=state, trust=trust, untrusted=untrusted
    )
    errors = [result["error"] for result in predictions if "error" in result]
    for error in errors:
        click.echo(f"error: {from_dict(error)}", err=True)

    answers = [result for result in predictions if "error" not in result]
    code = int(errors[0]["exit_code"]) if errors else 0
    return Outcome({"bundle": str(bundle), "predictions": predictions}, words.predictions(answers), code)


def _refuse(options: Mapping[str, Any], why: str, remedy: str = "leave it out") -> None:
    """Raise `UsageError` for the first of `options` that has a value."""
    from ..core.errors import UsageError

    for name, value in options.items():
        if value:
            raise UsageError(f"{name} {why}", remedy=remedy)


def _listen(
    console: Console,
    bundle: Path,
    inputs: tuple[str, ...],
    asked: dict[str, Any],
    settings: Mapping[str, Any],
    trust: Path | None,
) -> Outcome:
    """`--stream`: detections are printed as they come, with `--json` all of them in the object at the end."""
    from .. import api
    from ..streams import judged
    from . import output, words

    opened = api.load(bundle, trust)
    settings = {**settings, "rate": asked.pop("rate", None), "truth": asked.pop("truth", None), "options": asked}
    streams = []

    for name in inputs:
        if len(inputs) > 1 and not console.json:
            output.say(name)
        tell = (lambda detection: None) if console.json else (lambda detection: output.say(words.detection(detection)))
        streams.append(judged(opened, name, tell=tell, **settings))

    return Outcome({"bundle": str(bundle), "streams": streams}, "\n".join(map(words.stream, streams)))
