"""`edgeft`: the group, its exit codes, and the one place where output leaves the process."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import click

from .._version import __version__
from ..core import interrupt, progress
from ..core.errors import EdgeftError, SystemFailure, UsageError
from . import output
from .failures import Interrupted, explain
from .frame import SETTINGS, Console, Group, Outcome
from .output import only_json

#: the exit code of a shell for a command that SIGPIPE ended
READER_GONE = 141
FILES = {
    name: f"{module}:command"
    for name, module in {
        "init": "init",
        "tune": "tune",
        "sweep": "sweep",
        "export": "export",
        "sensitivity": "sensitivity",
        "verify": "verify",
        "bench": "bench",
        "gate": "gate",
        "predict": "predict",
        "serve": "serve",
        "ros2": "ros2",
        "cpp": "cpp",
        "personalize": "personalize",
        "sign": "sign",
        "targets": "targets",
        "device": "device",
        "data": "data",
        "report": "report",
        "doctor": "doctor",
        "completion": "completion",
    }.items()
}


@click.group(
    cls=Group,
    files=FILES,
    invoke_without_command=True,
    context_settings=SETTINGS,
    examples="""
    edgeft tune                                        # the embedded default, on data that comes with the install
    edgeft export --target rpi5 --target intel-nuc     # one verified bundle per board, from the latest run
    edgeft predict bundles/rpi5 photo.png
    """,
)
@click.version_option(__version__, prog_name="edgeft", message="%(prog)s %(version)s")
@click.pass_context
def edgeft(ctx: click.Context) -> None:
    """Fine-tune with quantization-aware training, export to edge runtimes, and prove the artifact."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        raise UsageError("a command is missing", where="edgeft", remedy=f"one of: {', '.join(FILES)}")


def _asked(argv: Sequence[str], flag: str) -> bool:
    """Whether `flag` stands among the options; known before parsing, since parsing itself may be what fails."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    return flag in words


def _calm_warnings(console: Console) -> None:
    """Other packages' warnings are for their developers; with -v or --debug they are shown."""
    if not console.debug and not sys.warnoptions:
        warnings.filterwarnings("ignore", module=r"(?!edgeft\b)")


def _perform(argv: list[str], console: Console, emit: Callable[[Mapping[str, Any]], None] | None) -> int:
    try:
        with progress.shown(console.say, lambda: console.progress):
            outcome = edgeft.main(args=argv, prog_name="edgeft", standalone_mode=False, obj=console)
        if isinstance(outcome, Outcome):
            if outcome.silent:
                return outcome.code
            text = "\n".join(part for part in (outcome.text, outcome.details if console.verbose else "") if part)
            if text and not (console.json and console.quiet):
                output.say(text)
            if emit:
                emit(outcome.payload)
            return outcome.code
        if emit:  # --help or --version: click printed it for people (on stderr now)
            emit({"version": __version__, **({"help": console.help} if console.help else {})})
        return outcome if isinstance(outcome, int) else 0
    except (BrokenPipeError, SystemExit):  # click ends so where its own output meets a closed pipe
        # The reader has gone (`edgeft ... | head`): nothing to say, and nobody to say it to.
        output.give_up()
        return READER_GONE
    except (Exception, KeyboardInterrupt) as error:
        if console.debug and not isinstance(error, click.ClickException):
            traceback.print_exc(file=sys.stderr)
        failure = explain(error, console.after_interrupt)
        if isinstance(failure, EdgeftError) and failure.option:
            failure.remedy = _with_command(argv, failure)
        prefix = "" if isinstance(failure, Interrupted) else "error: "
        with contextlib.suppress(OSError, ValueError):  # stderr may be closed or full too
            print(f"{prefix}{failure}", file=sys.stderr, flush=True)
        if emit:
            try:
                emit(failure.as_dict())
            except (OSError, SystemFailure):  # the output is what failed
                output.give_up()
        return failure.exit_code


def _with_command(argv: list[str], failure: EdgeftError) -> str:
    """The remedy of a failure, with the command that does what it refused: this one with the option."""
    words = [word for word in argv if word != "--json"]
    return f"{shlex.join(['edgeft', *words, failure.option])}; or {failure.remedy}"


def run(argv: Sequence[str]) -> int:
    """Run one command line (without the program's name) and give its exit code. Never raises, never exits."""
    words = list(argv)
    if "_EDGEFT_COMPLETE" in os.environ:
        from . import completion

        return completion.answer(edgeft)

    console = Console(json=_asked(words, "--json"), debug=_asked(words, "--debug"))
    _calm_warnings(console)
    output.replace_unknown_characters()

    with contextlib.ExitStack() as stack:
        emit = stack.enter_context(only_json()) if console.json else None
        code = _perform(words, console, emit)
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            output.give_up()
            code = code or SystemFailure.exit_code

    return code


def main() -> NoReturn:
    """The console script."""
    try:
        interrupt.install()
        output.hold_descriptors()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # a second ctrl-C, while the first was being answered
        code = interrupt.exit_code()

    interrupt.settle()
    # A KeyboardInterrupt that passed through somebody's exec(text) leaves a flag behind, and CPython then ends the
    # process by the signal instead of by its exit code, handled or not. The next exec of a text clears that flag.
    exec("")
    sys.exit(code)
