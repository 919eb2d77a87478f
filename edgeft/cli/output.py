"""What leaves the process: people's words, or with `--json` exactly one JSON object on stdout.

Runtimes written in C print to file descriptor 1 directly, past `sys.stdout`. With `--json` descriptor 1 therefore
points to stderr for as long as the command runs, and the object is written to a saved copy of the real one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any


def plain(value: Any) -> Any:
    """The value in strict JSON types: paths are strings, arrays are lists, NaN and infinities are null."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if hasattr(value, "tolist"):  # a numpy scalar or array, without importing numpy
        return plain(value.tolist())

    return str(value)


def dumps(value: Mapping[str, Any]) -> str:
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


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
        _write_all(real, (dumps(value) + "\n").encode())

    try:
        yield emit
    finally:
        sys.stdout = python_stdout
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os.dup2(real, 1)
        os.close(real)
