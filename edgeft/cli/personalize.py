"""`edgeft personalize`: the tail of a bundle's model learns on the device."""

from __future__ import annotations

from pathlib import Path

import click

from .frame import Console, Outcome
from .frame import command as _command


@_command(
    "personalize",
    examples="""
    edgeft personalize bundles/rpi5 --data new            # learn from new/CLASS/*.wav, keep it if it is better
    edgeft personalize bundles/rpi5 --rollback            # back to the version before
    """,
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="New labelled samples in the format of the recipe.")
@click.option("--steps", type=click.IntRange(min=0), help="Training steps; 0 = class means.  [default: as exported]")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Learning rate.  [default: as exported]")
@click.option("--state", type=click.Path(path_type=Path), help="Keeps what is learned.  [default: state.npz in BUNDLE]")
@click.option("--rollback", is_flag=True, help="Go back to the version before; nothing is learned.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of batches and of what is held back."
)
@click.option("--device", help="Learn there, and keep it there: ssh://[user@]host[:port].")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime.  [default: as exported]")
def command(
    console: Console,
    bundle: Path,
    data: Path | None,
    steps: int | None,
    rate: float | None,
    state: Path | None,
    rollback: bool,
    seed: int,
    device: str | None,
    threads: int | None,
) -> Outcome:
    """Learn from new samples on this device; what is learned is used only where it is judged better."""
    from .. import api
    from ..core.verdict import exit_code
    from . import words

    result = api.personalize(
        bundle,
        data,
        steps=steps,
        rate=rate,
        state=state,
        rollback=rollback,
        seed=seed,
        threads=threads,
        device=device,
        say=console.say,
    )
    text = result["why"] if rollback else words.personalized(result)
    return Outcome(result, text, exit_code(result["verdict"]))
