"""`edgeft verify`: is a bundle still what it was, and does it hold here?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from . import fleet
from .frame import PATH, Console, Outcome, trust_option
from .frame import command as _command


@_command(
    "verify",
    examples="""
    edgeft verify bundles/rpi5                      # files, parity on the bundle's samples, latency
    edgeft verify bundles/* --data data/blood       # accuracy and agreement too
    edgeft verify bundles/rpi5 --devices boards.txt # on every board that the file lists
    edgeft verify bundles/rpi5 --trust keys/        # refused unless one of these keys signed it
    """,
)
@click.argument("bundles", nargs=-1, required=True, metavar="BUNDLE...", type=PATH)
@click.option(
    "--data",
    type=PATH,
    help="Labelled data in a format of the task (its test split, else all of it); adds accuracy and agreement.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads of the runtime.  [default: as exported]")
@click.option(
    "--state", type=click.Path(path_type=Path), help="State file of a personalization.  [default: state.npz in BUNDLE]"
)
@click.option(
    "--samples", type=click.IntRange(min=1), help="Evaluate at most this many samples of --data.  [default: all]"
)
@fleet.options("Verify", emulated=True)
@trust_option
@click.option("--strict", is_flag=True, help="Fail (exit 1) where a gate is inconclusive or could not be verified.")
def command(
    console: Console,
    bundles: tuple[Path, ...],
    data: Path | None,
    threads: int | None,
    state: Path | None,
    samples: int | None,
    device: tuple[str, ...],
    devices: Path | None,
    retries: int | None,
    jobs: int | None,
    trust: Path | None,
    strict: bool,
) -> Outcome:
    """Verify BUNDLEs again, on this machine or on a device."""
    from .. import api
    from .outcome import of_reports

    options: dict[str, Any] = {"threads": threads, "state": state, "samples": samples, "trust": trust}

    def there(name: str | None, own: Mapping[str, str]) -> list[dict[str, Any]]:
        judged_on = own.get("data", data)
        return [api.verify(bundle, judged_on, device=name, say=console.say, **options) for bundle in bundles]

    outcome, _ = fleet.on_all(
        console,
        (device, devices, retries, jobs),
        there,
        lambda reports: of_reports(reports, strict=strict),
        lambda report: of_reports([report], strict=strict).code,
    )

    return outcome
