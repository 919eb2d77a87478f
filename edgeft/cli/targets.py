"""`edgeft targets`: the boards, what each allows, and what a model cannot do there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import completion
from .frame import PATH, SETTINGS, Console, Group, Outcome
from .frame import command as _command

if TYPE_CHECKING:
    from ..config.target import Target

FILES = {name: f"targets:{name}_" for name in ("list", "show", "check")}


@click.group(
    "targets",
    cls=Group,
    files=FILES,
    invoke_without_command=True,
    context_settings=SETTINGS,
    examples="""
    edgeft targets
    edgeft targets show jetson
    edgeft targets check coral recipe.toml
    """,
)
@click.pass_context
def command(ctx: click.Context) -> Outcome | None:
    """The boards edgeft knows. Without a command: list them."""
    return None if ctx.invoked_subcommand else _list(ctx.obj)


def _described(profile: Target) -> dict[str, Any]:
    """The profile, whether its compiler is set up on this machine, and the title of its runtime."""
    from .. import backends
    from ..compilers import environment
    from ..config import target

    state, title = environment.state_of(profile), backends.get(profile.backend).title
    return {**target.describe(profile), "compiler_state": state, "runtime_title": title}


def _list(console: Console) -> Outcome:
    from ..config import target
    from . import words

    boards = [_described(target.load(name)) for name in target.names()]
    return Outcome({"targets": boards}, words.boards(boards))


@_command("list")
def list_(console: Console) -> Outcome:
    """List every board with its runtime, its vendor's compiler and whether that is set up here, and aliases."""
    return _list(console)


@_command("show", examples="edgeft targets show rpi5 --json")
@click.argument("name", shell_complete=completion.of_names(completion.targets))
def show_(console: Console, name: str) -> Outcome:
    """Show the profile of one board: its runtime, its limits and the sources of these facts."""
    from ..config import target
    from . import words

    board = _described(target.load(name))
    return Outcome(board, words.board(board))


@_command("check", examples="edgeft targets check coral runs/blood-cells-20260101-120000")
@click.argument("name", shell_complete=completion.of_names(completion.targets))
@click.argument("run", metavar="RUN|RECIPE", type=PATH)
@click.option("--allow-code", is_flag=True, help="Run the Python file that the recipe's model names.")
@click.option("--allow-download", is_flag=True, help="Download the weights that the recipe's model names.")
def check_(console: Console, name: str, run: Path, allow_code: bool, allow_download: bool) -> Outcome:
    """Check before training whether the board NAME can run the model of RUN (or of a recipe file)."""
    from .. import api
    from . import words

    problems = api.check(name, run, allow_code=allow_code, allow_download=allow_download, say=console.say)
    return Outcome(problems, words.objections(problems), 1 if problems["refused"] else 0)
