"""`edgeft bench`: how long one inference takes here, and whether it became slower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from . import fleet
from .frame import PATH, Console, Outcome, trust_option
from .frame import command as _command


@_command(
    "bench",
    examples="""
    edgeft bench bundles/rpi5
    edgeft bench bundles/rpi5 --accept
    edgeft bench bundles/rpi5 --tolerance 3 --junit latency.xml --markdown latency.md
    edgeft bench new/rpi5 --against old/rpi5
    """,
)
@click.argument("bundle", type=PATH)
@click.option(
    "--against", type=PATH, metavar="BUNDLE", help="Compare with this bundle instead of the accepted baseline."
)
@click.option("--accept", is_flag=True, help="Make BUNDLE the baseline that later runs compare with.")
@click.option(
    "--calibrate", is_flag=True, help="Measure and store the spread between processes of BUNDLE on this machine."
)
@click.option("--search", is_flag=True, help="Try the runtime's options and store faster ones in BUNDLE.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, min_open=True, max=500),
    metavar="PCT",
    help="Largest slowdown that passes.  [default: 2, or the spread of this machine]",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads of the runtime.  [default: as exported]")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    help="Time limit of the measurement.  [default: 3; comparison or calibration 60, less in clear cases; search 120]",
)
@click.option("--baselines", type=PATH, metavar="DIR", help="Folder of accepted bundles.  [default: baselines]")
@click.option(
    "--cross-host", is_flag=True, help="Accept a baseline from another kind of machine; the verdict is then advisory."
)
@fleet.options("Measure")
@trust_option
@click.option("--junit", type=PATH, metavar="FILE", help="Write the result as JUnit XML.")
@click.option("--markdown", type=PATH, metavar="FILE", help="Write the result as Markdown.")
def command(
    console: Console,
    bundle: Path,
    against: Path | None,
    accept: bool,
    calibrate: bool,
    search: bool,
    tolerance: float | None,
    threads: int | None,
    seconds: float | None,
    baselines: Path | None,
    cross_host: bool,
    device: tuple[str, ...],
    devices: Path | None,
    retries: int | None,
    jobs: int | None,
    trust: Path | None,
    junit: Path | None,
    markdown: Path | None,
) -> Outcome:
    """Measure the latency of BUNDLE on this machine, or tell whether it became slower.

    One inference, batch 1, on the bundle's own first sample. Where a baseline is accepted or given, both run here, in
    fresh processes, and the verdict is pass (exit 0), fail (1) or inconclusive (5).
    """
    from .. import api
    from ..core.errors import UsageError
    from ..report import text
    from . import words

    if search and (len(device) > 1 or devices is not None):
        raise UsageError("A search runs on one machine.", where="--device", remedy="name one --device")

    def there(name: str | None, own: Mapping[str, str]) -> dict[str, Any]:
        return api.bench(
            bundle,
            against,
            accept=accept,
            calibrate=calibrate,
            search=search,
            tolerance=tolerance,
            threads=threads,
            seconds=seconds,
            baselines=baselines,
            cross_host=cross_host,
            device=name,
            trust=trust,
            say=console.say,
        )

    lines = words.searched if search else words.calibrated if calibrate else text.bench

    def answer(result: dict[str, Any]) -> Outcome:
        return Outcome(result, lines(result), _code(result, accept), details=words.machine(result))

    given = (device, devices, retries, jobs)
    outcome, results = fleet.on_all(console, given, there, answer, lambda result: _code(result, accept))
    if not (search or calibrate):
        _write_reports(results, junit, markdown)
    return outcome


def _code(result: dict[str, Any], accept: bool) -> int:
    """The exit code of one device's result: 0 where its verdict is advisory."""
    from ..core.verdict import ADVISORY, exit_code

    return 0 if accept or result.get("verdict") == ADVISORY else exit_code(result["verdict"])


def _write_reports(results: list[dict[str, Any]], junit: Path | None, markdown: Path | None) -> None:
    """The files that the caller asked for, of all devices that were measured."""
    from ..core import files
    from ..report import junit as as_junit
    from ..report import markdown as as_markdown

    measured = [result for result in results if "exit_code" not in result]
    if junit:
        files.write_text(junit, as_junit.render(measured))
    if markdown:
        files.write_text(markdown, as_markdown.render(measured))
