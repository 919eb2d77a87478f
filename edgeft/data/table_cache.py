"""Rows of large tables in files below the user's cache, by the content of the table and how it is read.

A folder is filled under another name and renamed (`core/once.py`), so that it is whole or absent; of several processes
one makes it and the others wait. One that was not used for `KEPT_DAYS` is removed when another is made; all of them may
be removed at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core import environment, files, once, strict_json
from ..core.errors import DataError, SystemFailure

#: bytes of a table from which on its rows are kept in files; of a .gz a fifth of that
LARGE = 1 << 25
KEPT_DAYS = 30
#: changes where what is stored does
_VERSION = 1
_FACTS = "facts.json"


def is_large(path: Path) -> bool:
    """Whether the rows of a table are kept in files."""
    return path.stat().st_size * (5 if path.suffix.lower() == ".gz" else 1) >= LARGE


def folder(path: Path, form: Any, fill: Callable[[Path], dict[str, Any]]) -> Path:
    """The folder of the table at `path` as `form` says that it is read; where it is absent, `fill(folder)` makes its
    files and returns its facts.

    Raises `SystemFailure` where it cannot be written, `DataError` where the table changed meanwhile.
    """
    before = _state(path)
    key = json.dumps([_VERSION, files.sha256(path), form])
    final = environment.cache("tables") / hashlib.sha256(key.encode()).hexdigest()
    if _is_whole(final):
        with contextlib.suppress(OSError):
            os.utime(final)
        return final

    def write(staging: Path) -> None:
        found = fill(staging)
        if _state(path) != before:
            raise DataError("changed while it was read", where=str(path), remedy="run the command again")
        sizes = {file.name: file.stat().st_size for file in staging.iterdir()}
        files.write_json(staging / _FACTS, {"facts": found, "bytes": sizes})

    with _told(final.parent):
        _remove_unused(final.parent)
        once.folder(final, write, _is_whole)

    return final


def facts(folder: Path) -> dict[str, Any]:
    """What `fill` returned."""
    return dict(_content(folder)["facts"])


def part(folder: Path, name: str, blocks: Callable[[], Iterable[np.ndarray]]) -> Path:
    """A further file of a folder, which is made of `blocks` where it is absent; raises as `folder`."""
    path = folder / name
    if path.exists():
        return path

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            for block in blocks():
                file.write(np.ascontiguousarray(block).tobytes())

    with _told(folder):
        files.write_with(path, write)
    return path


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """An error of the system as one that says what the files are for, and how they go elsewhere."""
    try:
        yield
    except (OSError, SystemFailure) as error:
        reason = error.message if isinstance(error, SystemFailure) else error.strerror or str(error)
        raise SystemFailure(
            f"the rows of a large table could not be kept in files: {reason.removeprefix('could not write: ')}",
            where=str(folder),
            remedy="free some space there, or set XDG_CACHE_HOME to a folder with more",
        ) from error


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _content(folder: Path) -> dict[str, Any]:
    content = strict_json.loads((folder / _FACTS).read_text())
    if not isinstance(content, dict):
        raise ValueError
    return content


def _is_whole(folder: Path) -> bool:
    try:
        sizes = _content(folder)["bytes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _remove_unused(parent: Path) -> None:
    """Remove folders that were not used for long, those that a killed process left included."""
    now = time.time()
    for entry in parent.iterdir() if parent.is_dir() else ():
        days = 1 if entry.name.endswith(".tmp") else KEPT_DAYS
        with contextlib.suppress(OSError):
            if entry.stat().st_mtime < now - 86400 * days:
                shutil.rmtree(entry, ignore_errors=True)
