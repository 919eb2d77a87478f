"""`edgeft bench`: how long one inference takes here."""

from __future__ import annotations

from pathlib import Path

import click

from .frame import Console, Outcome
from .frame import command as _command


@_command(
    "bench",
    examples="""
    edgeft bench bundles/rpi5
    edgeft bench bundles/rpi5 --threads 4 --junit latency.xml --markdown latency.md
    """,
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime.  [default: as exported]")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=3.0, show_default=True, help="Time to measure for.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the result as JUnit XML.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Write the result as Markdown.")
def command(
    console: Console, bundle: Path, threads: int | None, seconds: float, junit: Path | None, markdown: Path | None
) -> Outcome:
    """Measure the latency of BUNDLE on this machine.

    One inference, batch 1, on the bundle's own first sample.
    """
    from .. import api, files
    from ..report import junit as as_junit
    from ..report import markdown as as_markdown
    from ..report import text
    from . import words

    result = api.bench(bundle, threads=threads, seconds=seconds)
    if junit:
        files.write_text(junit, as_junit.render(result))
    if markdown:
        files.write_text(markdown, as_markdown.render(result))
    return Outcome(result, text.bench(result), details=words.machine(result))
