"""What a cache holds is made once: of several processes one makes it, and the others wait and take what it made.

A lock file beside the place, `.NAME.lock`, belongs to the process that makes it; the lock ends with the process,
however that ends, and the file is removed by whoever held it last. Where the system has no such locks, each process
makes its own, and the last one in place stays.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from . import files, leftovers
from .progress import phase

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]


def folder(
    place: Path, fill: Callable[[Path], None], is_usable: Callable[[Path], bool] = lambda place: place.exists()
) -> None:
    """Let `fill` write a temporary folder beside `place`, then rename it; a usable folder is left as it is.

    Raises what `fill` raises, `SystemFailure` where the system refuses to write. Nothing is left of one that fails;
    what killed processes left is removed.
    """
    if is_usable(place):
        return

    with files.system_errors(place), alone(place):
        leftovers.sweep(place.parent, re.escape(place.name))
        if is_usable(place):  # another process made it meanwhile
            return

        staging = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
        try:
            staging.mkdir()
            with leftovers.alone_in(staging):
                fill(staging)
                files.publish(staging, place, synced=False)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """Hold the lock of who makes `place`, whose folder is made where it is absent; waits for another process.

    Raises `OSError` as `os.open` does, `BundleError` where something else than a file has the name of the lock.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = place.with_name(f".{place.name}.lock")
    handle = _held(lock)

    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(handle)


def _held(lock: Path) -> int:
    """A descriptor that holds the lock file, which is still the one in its place."""
    while True:
        handle = files.open_lock(lock)
        try:
            _wait(handle, lock)
            if _is_in_place(handle, lock):
                return handle
        except BaseException:
            os.close(handle)
            raise

        os.close(handle)  # who held it before has removed it


def _wait(handle: int, lock: Path) -> None:
    if fcntl is None:
        return

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with phase(f"waiting for another process that makes {lock.name[1 : -len('.lock')]}"):
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        return


def _is_in_place(handle: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(lock))
    except FileNotFoundError:
        return False
