"""Silence for packages that print on import or from C++: stdout and stderr belong to the command."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Swallow what a block prints and logs, also from C++ (file descriptors 1 and 2), and its Python warnings.

    Yields a list that holds the swallowed lines after the block.
    """
    lines: list[str] = []
    with contextlib.ExitStack() as stack:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(ValueError, OSError):
                stream.flush()

        sink = stack.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
        saved = [os.dup(1), os.dup(2)]
        disabled = logging.root.manager.disable
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
                yield lines
        finally:
            sink.flush()
            for target, copy in zip((1, 2), saved):
                os.dup2(copy, target)
                os.close(copy)
            logging.disable(disabled)
            sink.seek(0)
            lines += sink.read().splitlines()
