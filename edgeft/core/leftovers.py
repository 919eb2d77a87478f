"""Folders that one process writes at a time, and what killed processes left of theirs.

A folder that is being written is locked by its own descriptor: no lock file is left in it, and the lock ends with the
process, however that ends. A temporary folder without a lock is therefore dead. Where the system has no such locks,
nothing is locked and nothing removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import UsageError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

#: temporary files have no lock: those of this age (seconds) are dead
OLD = 3600.0


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the lock of an existing folder; raises `UsageError` where another process has it."""
    handle = _locked(folder)
    if handle is None:
        raise UsageError(
            "another process is writing this folder", where=str(folder), remedy="wait until it is done, or name another"
        )

    try:
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def sweep(folder: Path, name: str, age: float = OLD) -> None:
    """Remove what killed processes left of writing `name` (a regular expression, for several names) into `folder`:
    temporary folders, and files of `age` seconds (0 for who holds a lock on writing that name)."""
    pattern = re.compile(rf"\.{name}\.[0-9a-f]{{8}}\.(tmp|old)")
    try:
        entries = [entry for entry in os.scandir(folder) if pattern.fullmatch(entry.name)]
    except OSError:
        return

    for entry in entries:
        with contextlib.suppress(OSError):
            in_place = Path(folder, entry.name[1 : -len(".01234567.old")])
            if entry.name.endswith(".old") and not in_place.exists():
                continue  # it is all that there is: the process was killed before the new folder took its place
            if entry.is_dir(follow_symlinks=False):
                _sweep_folder(Path(entry.path))
            elif entry.is_file(follow_symlinks=False) and entry.stat().st_mtime <= time.time() - age:
                os.unlink(entry.path)


def _sweep_folder(path: Path) -> None:
    handle = _locked(path)
    if handle is not None and handle >= 0:
        try:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(handle)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock, None where another process holds it, -1 where there are no locks."""
    if fcntl is None:
        return -1

    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return -1

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:  # a file system without locks
        os.close(handle)
        return -1

    return handle
