"""Ctrl-C and SIGTERM that are not lost. An import that one cuts short may swallow the exception (a bare `except:`).

The note stays. Nor do they leave the interpreter's own words: cut short in a destructor or a lock's callback one would
be printed as "Exception ignored in", with a traceback.

The command line installs the handler; long work asks at every step. Where nobody installed it, nothing is asked.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType

_number = 0
_deferred = False


def install() -> None:
    """Take note of SIGINT and SIGTERM and raise `KeyboardInterrupt` for both. For the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle)
    sys.unraisablehook = _unraisable


def settle() -> None:
    """The answer is out and the exit code settled: no signal changes it any more."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def asked() -> bool:
    """Whether ctrl-C was pressed, or SIGTERM received."""
    return _number != 0


def terminated() -> bool:
    """Whether it was SIGTERM: a scheduler takes the machine back, a service manager stops the command."""
    return _number == signal.SIGTERM


def exit_code() -> int:
    """What a shell reports of a command that the signal ended: 130 of ctrl-C, 143 of SIGTERM."""
    return 128 + (_number or signal.SIGINT)


def check() -> None:
    """Raise `KeyboardInterrupt` where a signal came and got lost, or came within `deferred`."""
    if _number:
        raise KeyboardInterrupt


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """A first signal raises nothing within the block, which asks where its state is whole. A second ctrl-C raises."""
    global _deferred
    before, _deferred = _deferred, True
    try:
        yield
    finally:
        _deferred = before


def _unraisable(hook_args: sys.UnraisableHookArgs) -> None:
    if not issubclass(hook_args.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(hook_args)


def _handle(number: int, frame: FrameType | None) -> None:
    global _number
    first, _number = _number == 0, _number or number
    if number == signal.SIGTERM and not first:
        return  # schedulers send it to the process and to its group; the command is ending already

    if _deferred and first:
        # A signal to a whole group ends the loader's workers, too, and torch's handler would raise within a step.
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, _nothing)
        return

    raise KeyboardInterrupt


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
