"""Limits of memory and time for a process that gives files of unknown origin to a runtime, which is native code.

A model that asks for all memory, or that never ends, then ends its own process and nothing else. The limits keep
accidents and simple attacks away from the machine; they are no sandbox: code that a runtime was tricked into running
could lift them.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

try:
    import resource as _resource
except ImportError:  # no POSIX system
    _resource = None  # type: ignore[assignment]

resource: Any = _resource

#: bytes that a process may always take, and how many for each byte of its model files
LEAST, TIMES = 4 << 30, 16
#: share of the machine's memory that a process may take which reads a user's data too
SHARE = 0.9
#: seconds until an artifact must have been loaded, compared on its samples, or timed
SECONDS = 600


def memory(model_bytes: int, *, data: bool = False) -> int:
    """The bytes that a process may take for models of so many bytes; with `data`, most of what the machine has."""
    enough = LEAST + TIMES * model_bytes
    return max(enough, int(_physical() * SHARE)) if data else enough


def apply(most: int, seconds: int) -> None:
    """Limit this process to `most` bytes of memory of its own (RLIMIT_DATA), and end it after `seconds` (SIGALRM).

    The alarm ends the process wherever it is, in native code too. The limit of memory can be lifted again; a lower one
    of the system stays. Nothing is written to disk when the process dies. Without POSIX limits nothing happens.
    """
    if resource is None:
        return

    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        known = [value for value in (soft, hard) if value != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([most, *known]), hard))

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    alarm(seconds)


def alarm(seconds: int) -> None:
    """End this process after `seconds` instead of what was set before; 0: not at all."""
    if resource is not None:
        signal.alarm(seconds)


def lift() -> None:
    """Take back the limit of memory: for a compiler, which is started by a limited process and needs more."""
    if resource is None:
        return
    with contextlib.suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
