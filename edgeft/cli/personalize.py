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
    from ..core.errors import UsageError
    from ..core.verdict import exit_code
    from . import words

    if rollback:
        if data is not None:
            raise UsageError("--rollback learns nothing", where="--data", remedy="leave out one of them")
        from ..personalize.run import rollback as back

        if device:
            from ..devices.registry import get
            from ..personalize.elsewhere import rollback as back_there

            found = back_there(get(device, console.say), api.load(bundle).path, state)
            return Outcome(found, found["why"])
        found = back(api.load(bundle), state)
        return Outcome(found, found["why"])
    if data is None:
        raise UsageError("new samples are missing", where="personalize", remedy="--data DIR, or --rollback")
    found = api.personalize(
        bundle,
        data,
        steps=steps,
        rate=rate,
        state=state,
        seed=seed,
        threads=threads,
        device=device,
        say=console.say,
    )
    return Outcome(found, words.personalized(found), exit_code(found["verdict"]))
