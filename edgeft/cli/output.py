"""What leaves the process: people's words, or with `--json` exactly one JSON object on stdout.

Runtimes written in C print to file descriptor 1 directly, past `sys.stdout`. With `--json` descriptor 1 therefore
points to stderr for as long as the command runs, and the object is written to a saved copy of the real one.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..core.errors import SystemFailure
from ..core.strict_json import dumps

#: whether the process was started without stdout (`>&-`), so that no result can be written
_closed = False


def hold_descriptors() -> None:
    """Put /dev/null in the place of closed standard streams: the next file that is opened would take their number, and
    be written to by whatever prints."""
    global _closed
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            _closed = _closed or number == 1

    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))


def replace_unknown_characters() -> None:
    """Characters that the terminal's encoding lacks are replaced, here and in what libraries print."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def say(text: str) -> None:
    """Print a result for people; raises `SystemFailure` where stdout is closed, and `OSError` where it is full."""
    if _closed:
        raise SystemFailure(
            "stdout is closed: the result cannot be written", remedy="leave it open, or send it to a file"
        )
    print(text, flush=True)


def give_up() -> None:
    """Send what is still to be written to stdout nowhere, so that the interpreter does not fail on it at its end."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextlib.contextmanager
def only_json() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """While open, everything printed to stdout lands on stderr; the function it gives writes to the real stdout."""
    sys.stdout.flush()
    real = os.dup(1)
    python_stdout = sys.stdout
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def emit(value: Mapping[str, Any]) -> None:
        if _closed:
            raise SystemFailure("stdout is closed: the result cannot be written", remedy="leave it open")
        _write_all(real, (dumps(value) + "\n").encode())

    try:
        yield emit
    finally:
        sys.stdout = python_stdout
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os.dup2(real, 1)
        os.close(real)
