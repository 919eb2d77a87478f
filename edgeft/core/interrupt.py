"""Ctrl-C that is not lost. An import that it cuts short may swallow the exception (a bare `except:`); the note stays.

Nor does it leave the interpreter's own words: cut short in a destructor or a lock's callback it would be printed as
"Exception ignored in", with a traceback.

The command line installs the handler; long work asks at every step. Where nobody installed it, nothing is asked.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

_asked = False


def install() -> None:
    """Take note of SIGINT and raise `KeyboardInterrupt`, as Python does. For the main thread."""
    signal.signal(signal.SIGINT, _handle)
    sys.unraisablehook = _unraisable


def asked() -> bool:
    """Whether ctrl-C was pressed."""
    return _asked


def check() -> None:
    """Raise `KeyboardInterrupt` where ctrl-C was pressed and got lost."""
    if _asked:
        raise KeyboardInterrupt


def _unraisable(hook_args: sys.UnraisableHookArgs) -> None:
    if not issubclass(hook_args.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(hook_args)


def _handle(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt
