"""`edgeft completion`: the script that completes commands, options, boards and tasks in a shell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

from ..core.errors import UsageError
from .frame import Console, Outcome
from .frame import command as _command

#: set by the script while the shell asks for completions
VARIABLE = "_EDGEFT_COMPLETE"
SHELLS = ("bash", "zsh", "fish")

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def of_names(names: Callable[[], Iterable[str]]) -> Completer:
    """Completes one of `names()`, which is called only where a shell asks."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]

    return complete


def targets() -> Iterable[str]:
    from ..config import target

    return target.names()


def tasks() -> Iterable[str]:
    from ..plugins import TASKS

    return TASKS.names()


def answer(group: click.Command) -> int:
    """Answer the question of a shell, which stands in the environment; exit code."""
    return shell_complete(group, {}, "edgeft", VARIABLE, os.environ[VARIABLE])


def _default_shell() -> str:
    return os.path.basename(os.environ.get("SHELL", ""))


@_command(
    "completion",
    examples="""
    eval "$(edgeft completion bash)"                                       # in ~/.bashrc
    eval "$(edgeft completion zsh)"                                        # in ~/.zshrc, after compinit
    edgeft completion fish > ~/.config/fish/completions/edgeft.fish
    """,
)
@click.argument("shell", required=False, type=click.Choice(SHELLS))
def command(console: Console, shell: str | None) -> Outcome:
    """Print the script that completes commands, options, boards and tasks in SHELL.

    Without SHELL: that of the variable SHELL.
    """
    shell = shell or _default_shell()
    if shell not in SHELLS:
        raise UsageError(f"there are no completions for the shell {shell!r}", remedy=f"one of: {', '.join(SHELLS)}")

    shell_class: Any = get_completion_class(shell)
    group = click.get_current_context().find_root().command
    script = shell_class(group, {}, "edgeft", VARIABLE).source().rstrip()
    return Outcome({"shell": shell, "script": script}, script)
