"""`edgeft gate`: one verdict on bundles, for CI and before a commit."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from .frame import PATH, Console, Outcome, trust_option
from .frame import command as _command


@_command(
    "gate",
    examples="""
    edgeft gate bundles/rpi5 --data data/blood --against main/rpi5 --out edgeft-gate
    edgeft gate bundles/* --against main              # each with the bundle of the same name in main
    edgeft gate --tracked                             # what the bundles in git's index record; nothing is run
    """,
)
@click.argument("bundles", nargs=-1, metavar="[BUNDLE...]", type=PATH)
@click.option("--data", type=PATH, help="Labelled data; adds accuracy and agreement, as in edgeft verify.")
@click.option("--samples", type=click.IntRange(min=1), help="Evaluate at most this many samples of --data.")
@click.option(
    "--against", type=PATH, metavar="BUNDLE", help="Compare latency with this bundle, or that of the same name in it."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, min_open=True, max=500),
    metavar="PCT",
    help="Largest slowdown that passes.  [default: 2, or the spread of this machine]",
)
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Time limit of a comparison.  [default: 60]")
@trust_option
@click.option("--strict", is_flag=True, help="Fail (exit 1) where a gate is inconclusive or could not be verified.")
@click.option("--tracked", is_flag=True, help="Judge what bundles in git's index record, and run nothing.")
@click.option("--out", type=PATH, metavar="DIR", help="Folder for summary.md, results.xml, report.html and gate.json.")
@click.option("--overwrite", is_flag=True, help="Write into an --out that is not empty.")
def command(
    console: Console,
    bundles: tuple[Path, ...],
    data: Path | None,
    samples: int | None,
    against: Path | None,
    tolerance: float | None,
    seconds: float | None,
    trust: Path | None,
    strict: bool,
    tracked: bool,
    out: Path | None,
    overwrite: bool,
) -> Outcome:
    """Verify BUNDLEs, compare their latency, and write what CI shows of it: one exit code for all.

    0 pass, 1 fail, 5 inconclusive. With --tracked a bundle in git without a verdict, with a failed one, or with files
    that are not in the commit is refused.
    """
    from ..core.errors import UsageError

    if tracked:
        if data or against or out or trust:
            raise UsageError("--tracked runs nothing", remedy="leave out --data, --against, --out and --trust")
        return _tracked(bundles, strict)

    if not bundles:
        raise UsageError("no bundle was named", where="edgeft gate", remedy="edgeft gate BUNDLE, or --tracked")

    from .. import api, gate
    from ..core import files
    from ..core.verdict import ADVISORY, exit_code
    from ..devices.fleet import worst_code
    from ..report import text
    from .outcome import of_reports

    with files.no_empty_folder(out) if out is not None else contextlib.nullcontext():
        folder = None if out is None else files.claim_out(out, overwrite=overwrite)
        options: dict[str, Any] = {"trust": trust, "say": console.say}
        reports = [api.verify(bundle, data, samples=samples, **options) for bundle in bundles]
        benches = []
        if against is not None:
            options |= {"tolerance": tolerance, "seconds": seconds}
            benches = [api.bench(bundle, gate.beside(against, bundle), **options) for bundle in bundles]
        if folder is not None:
            gate.write(folder, reports, benches, strict=strict)

    verified = of_reports(reports, strict=strict)
    codes = [0 if bench["verdict"] == ADVISORY else exit_code(bench["verdict"], strict=strict) for bench in benches]
    code = worst_code([verified.code, *codes])
    payload = {"verdict": _word(code), "bundles": reports, "bench": benches, "out": None if out is None else str(out)}

    return Outcome(payload, "\n\n".join([verified.text, *map(text.bench, benches)]), code, verified.details)


def _word(code: int) -> str:
    """The verdict that an exit code of gates stands for."""
    return {0: "pass", 5: "inconclusive"}.get(code, "fail")


def _tracked(bundles: tuple[Path, ...], strict: bool) -> Outcome:
    from .. import gate
    from ..core.errors import from_dict
    from ..core.verdict import exit_code
    from ..devices.fleet import worst_code
    from ..report import text

    results = gate.tracked(bundles, Path.cwd())
    lines, codes = [], [0]
    for result in results:
        if "error" in result:
            codes.append(result["error"]["exit_code"])
            click.echo(f"error: {from_dict(result['error'])}", err=True)
        else:
            codes.append(exit_code(result["verdict"], strict=strict))
        lines.append(["refused" if "error" in result else result["verdict"], result["path"]])

    code = worst_code(codes)
    words = "\n".join(text.table([], lines)) if lines else "git knows no bundle here"
    return Outcome({"verdict": _word(code), "bundles": results}, words, code)
