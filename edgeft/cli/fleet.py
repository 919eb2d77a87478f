"""The options of commands that work on several boards at once, and how their answers become one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from .frame import PATH, Console, Outcome

F = TypeVar("F", bound=Callable[..., Any])


def options(what: str, *, emulated: bool = False) -> Callable[[F], F]:
    """Adds --device, --devices, --retries and --jobs; `what` begins the help of the first ("Measure")."""
    forms = "ssh://[user@]host[:port]" + (" or emulate:TARGET" if emulated else "")

    def add(function: F) -> F:
        for decorate in (
            click.option("--jobs", type=click.IntRange(1, 1000), help="Devices at once.  [default: 16]"),
            click.option(
                "--retries",
                type=click.IntRange(0, 100),
                help="Further attempts where a device does not answer.  [default: 2 with several, else 0]",
            ),
            click.option("--devices", type=PATH, metavar="FILE", help="A file with a device a line, and data=PATH."),
            click.option("--device", multiple=True, help=f"{what} on this device: {forms}; may be repeated."),
        ):
            function = decorate(function)
        return function

    return add


def on_all(
    console: Console,
    given: tuple[tuple[str, ...], Path | None, int | None, int | None],
    work: Callable[[str | None, Mapping[str, str]], Any],
    answer: Callable[[Any], Outcome],
    code: Callable[[dict[str, Any]], int],
) -> tuple[Outcome, list[dict[str, Any]]]:
    """`work(device, what is its own)` on the devices that the options name, and the results of all of them.

    `given` are the values of the options, in the order of `options`. Of one device (or none: this machine) the outcome
    is `answer(result)`, and its error is raised; of several it is a table, and `code` gives each result's exit code.
    """
    from ..devices import fleet
    from . import words

    names, file, retries, jobs = given
    boards = fleet.boards_of(names, file)
    if len(boards) < 2 and file is None and not retries:
        result = work(boards[0].name if boards else None, {})
        return answer(result), result if isinstance(result, list) else [result]

    results = fleet.on_all(
        boards or [fleet.Board("host")],
        lambda board: work(board.name, board.own),
        retries=fleet.RETRIES if retries is None else retries,
        jobs=jobs or fleet.JOBS,
        say=console.say,
    )
    codes = [int(result["exit_code"]) if "exit_code" in result else code(result) for result in results]
    payload = {"results": results, "counts": fleet.counts(results)}

    return Outcome(payload, words.side_by_side(results), fleet.worst_code(codes)), results
