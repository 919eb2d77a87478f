"""`edgeft doctor`: what is installed, which runtimes load, what is missing."""

from __future__ import annotations

from .frame import Console, Outcome
from .frame import command as _command


@_command("doctor", examples="edgeft doctor --json")
def command(console: Console) -> Outcome:
    """Show what is installed and what is missing.

    Says which runtimes load, and what to pip install for the rest.
    """
    from .. import doctor
    from ..report import text

    examination = doctor.examine()
    return Outcome(examination, text.doctor(examination))
