"""`edgeft personalize`: the tail of a bundle's model is trained on the device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from . import fleet
from .frame import PATH, Console, Outcome, trust_option
from .frame import command as _command


@_command(
    "personalize",
    examples="""
    edgeft personalize bundles/rpi5 --data new            # train on new/CLASS/*.wav, keep the result if it is better
    edgeft personalize bundles/rpi5 --devices boards.txt  # each with the data=DIR of its line
    edgeft personalize bundles/rpi5 --rollback            # back to the version before
    """,
)
@click.argument("bundle", type=PATH)
@click.option("--data", type=PATH, help="New labelled samples in the format of the recipe.")
@click.option("--steps", type=click.IntRange(min=0), help="Training steps; 0 = class means.  [default: as exported]")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Learning rate.  [default: as exported]")
@click.option(
    "--state", type=click.Path(path_type=Path), help="File for the trained parameters.  [default: state.npz in BUNDLE]"
)
@click.option("--rollback", is_flag=True, help="Return to the previous version without training.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the batches and of the held-out samples.",
)
@fleet.options("Train and store the result")
@trust_option
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads of the runtime.  [default: as exported]")
def command(
    console: Console,
    bundle: Path,
    data: Path | None,
    steps: int | None,
    rate: float | None,
    state: Path | None,
    rollback: bool,
    seed: int,
    device: tuple[str, ...],
    devices: Path | None,
    retries: int | None,
    jobs: int | None,
    trust: Path | None,
    threads: int | None,
) -> Outcome:
    """Train the tail of BUNDLE on new samples, on this device.

    The result is used only where it is better on held-out samples and does not forget too much.
    """
    from .. import api
    from ..core.verdict import exit_code
    from . import words

    options: dict[str, Any] = {"steps": steps, "rate": rate, "state": state, "rollback": rollback, "seed": seed}
    options |= {"threads": threads, "trust": trust}

    def there(name: str | None, own: Mapping[str, str]) -> dict[str, Any]:
        learned_from = None if rollback else own.get("data", data)
        return api.personalize(bundle, learned_from, device=name, say=console.say, **options)

    def answer(result: dict[str, Any]) -> Outcome:
        text = result["why"] if rollback else words.personalized(result)
        return Outcome(result, text, exit_code(result["verdict"]))

    given = (device, devices, retries, jobs)
    outcome, _ = fleet.on_all(console, given, there, answer, lambda result: exit_code(result["verdict"]))
    return outcome
