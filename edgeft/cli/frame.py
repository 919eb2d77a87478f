"""What every command shares: `--json`, `-v`, `-q`, `--debug`, help on `-h`, and near misses answered."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from ..core import interrupt, progress
from ..core.errors import UsageError, nearest
from ..core.files import user_path

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class HomePath(click.Path):
    """A path whose leading `~` is the home folder, also where the shell leaves it (`--out=~/runs/1`)."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(user_path(value), param, ctx)


#: the type of every option and argument that is a path on this machine
PATH = HomePath(path_type=Path)


#: of every command that judges or runs a bundle
trust_option = click.option(
    "--trust",
    type=PATH,
    metavar="KEYS",
    help="Refuse a bundle that none of these public keys signed (a file or folder).  [default: EDGEFT_TRUST]",
)


@dataclass
class Console:
    """How the user wants to be spoken to. One per process, handed to every command as its first argument."""

    json: bool = False
    debug: bool = False
    verbose: bool = False
    quiet: bool = False
    help: str = ""  # the help text, once somebody asked for it
    resumable: Path | None = None  # the run directory of a command that goes on after ctrl-C
    resumed_by: str = "tune"  # the command that does

    def say(self, text: str) -> None:
        """Progress and warnings: always stderr, so that stdout holds results only."""
        interrupt.check()
        if not self.quiet:
            with progress.around_text():
                print(text, file=sys.stderr, flush=True)

    @property
    def after_interrupt(self) -> str:
        """How to go on after ctrl-C, once there is something to go on with."""
        begun = self.resumable is not None and (self.resumable / "recipe.toml").is_file()
        return f"edgeft {self.resumed_by} --resume {shlex.quote(str(self.resumable))}" if begun else ""

    @property
    def progress(self) -> bool:
        """Whether progress bars may be drawn."""
        return not self.quiet and sys.stderr.isatty()


@dataclass(frozen=True)
class Outcome:
    """What a command found: `payload` for `--json`, `text` for people, and the exit code."""

    payload: Mapping[str, Any]
    text: str
    code: int = 0
    details: str = field(default="")  # shown with -v
    silent: bool = False  # of several processes the first prints


def _note(name: str) -> Callable[[click.Context, click.Parameter, bool], bool]:
    def callback(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
        if value and isinstance(ctx.obj, Console):
            setattr(ctx.obj, name, True)
        return value

    return callback


def _common() -> list[click.Parameter]:
    """Fresh each time: click parameters belong to one command."""

    def flag(names: list[str], attribute: str, text: str) -> click.Option:
        return click.Option(
            [*names, f"_{attribute}"],
            is_flag=True,
            expose_value=False,
            help=text,
            callback=_note(attribute),
        )

    return [
        flag(["--json"], "json", "Print exactly one JSON object on stdout; messages go to stderr."),
        flag(["-v", "--verbose"], "verbose", "Print more details."),
        flag(["-q", "--quiet"], "quiet", "Print only the result."),
        flag(["--debug"], "debug", "Show the traceback of an error."),
    ]


class _Shared(click.Command):
    """The common options; examples at the end of the help, kept as typed; help remembered for `--json`."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_common())
        self.examples = examples

    def get_help(self, ctx: click.Context) -> str:
        text = super().get_help(ctx)
        if isinstance(ctx.obj, Console):
            ctx.obj.help = text
        return text

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"  {line.strip()}\n")


class Command(_Shared):
    """One command."""


class WithNumbers(Command):
    """A command whose arguments may begin with a minus sign and a digit, which is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f" {text}" if re.match(r"-\.?\d", text) else text for text in args])


class Group(_Shared, click.Group):
    """Commands found by name in files beside this one, imported only when one is called."""

    def __init__(self, *args: Any, files: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.files = dict(files)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.files)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.files:
            return None
        module, _, attribute = self.files[name].partition(":")
        command: click.Command = getattr(importlib.import_module(f".{module}", __package__), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.files and not ctx.resilient_parsing:
            if args[0].startswith("-"):
                ctx.fail(f"no such option {args[0]!r}")
            raise UsageError(
                f"no such command {args[0]!r} in this version",
                where=ctx.command_path,
                remedy=nearest(args[0], self.files),
            )
        return super().resolve_command(ctx, args)


def command(
    name: str, *, examples: str = "", cls: type[Command] = Command, **kwargs: Any
) -> Callable[[Callable[..., Outcome]], Command]:
    """Decorator: `function(console, **parameters) -> Outcome` becomes the command `name`, of the class `cls`."""

    def wrap(function: Callable[..., Outcome]) -> Command:
        click_command = click.command(
            name,
            cls=cls,
            examples=examples,
            context_settings=SETTINGS,
            **kwargs,
        )(click.pass_obj(function))
        assert isinstance(click_command, Command)

        return click_command

    return wrap
