"""What a vendor's library prints, also from C++: the reasons that it gives stand nowhere else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def printed() -> Iterator[list[str]]:
    """Collect what is written to file descriptors 1 and 2; the list holds the lines after the block, and they are
    written to stdout then."""
    lines: list[str] = []
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as sink:
        saved = [os.dup(1), os.dup(2)]
        try:
            for descriptor in (1, 2):
                os.dup2(sink.fileno(), descriptor)
            yield lines
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            ctypes.CDLL(None).fflush(None)  # what C's stdio still holds of this block
            for descriptor, copy in zip((1, 2), saved):
                os.dup2(copy, descriptor)
                os.close(copy)

            sink.seek(0)
            lines += sink.read().splitlines()
            sys.stdout.write("\n".join([*lines, ""]))
