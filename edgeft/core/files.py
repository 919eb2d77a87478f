"""Files that are whole or absent: atomic writes, hashes, paths that stay inside their folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from .errors import BundleError, SystemFailure, UsageError


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path with a leading `~` or `~user` replaced by the home folder; of an unknown user it stays as written."""
    return Path(os.path.expanduser(os.fspath(path)))


@contextlib.contextmanager
def system_errors(path: Path | str) -> Iterator[None]:
    """Turn an OSError of the body (disk full, no permission) into `SystemFailure` (exit 6) naming `path`."""
    try:
        yield
    except OSError as error:
        raise SystemFailure(
            f"could not write: {error.strerror or error}",
            where=str(path),
            remedy="free some space or choose another --out folder that you may write to",
        ) from error


def _fsync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folder
        return

    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems of some boards cannot sync a folder
            raise
    finally:
        os.close(handle)


def sync(folder: Path) -> None:
    """Have all files below `folder`, and the folders, on the disk: a power cut after a rename then finds them whole."""
    for root, _, names in os.walk(folder):
        for name in names:
            place = os.path.join(root, name)
            if os.path.islink(place) or not os.path.isfile(place):
                continue
            with open(place, "rb") as handle:
                os.fsync(handle.fileno())
        _fsync_folder(Path(root))


def renamed_into(place: Path) -> None:
    """Have the entry of a file or folder that was just renamed on the disk."""
    _fsync_folder(place.parent)


def write_with(path: Path | str, writer: Callable[[Path], None]) -> None:
    """Let `writer` fill a temporary file beside `path`, then fsync and rename it: readers see the old or the new file.

    Raises `SystemFailure` when the system refuses; the temporary file never stays behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with system_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            writer(temporary)
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
            _fsync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_bytes(path: Path | str, data: bytes) -> None:
    def writer(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_with(path, writer)


def write_text(path: Path | str, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Strict JSON (no NaN or Infinity), sorted as given, ending in a newline."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def open_regular(path: Path | str, *, follow: bool = True) -> BinaryIO:
    """The file opened for reading, only where it is a regular one: a pipe would hang a reader, a device never end.

    Raises `BundleError` for anything else, and with `follow` false for a link; `OSError` as `open` does.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(_regular(path, flags, follow), "rb")


def is_file(path: Path) -> bool:
    """Whether a file is there; under a name that no file system takes (too long, in somebody's annotations) is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def open_lock(path: Path | str) -> int:
    """A descriptor of a lock file, which is made where it is absent.

    Raises `BundleError` for a link (the file that it names would be made) and for what is no regular file, `OSError` as
    `os.open` does.
    """
    return _regular(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0), False)


def _regular(path: Path | str, flags: int, follow: bool) -> int:
    try:
        handle = os.open(path, flags if follow else flags | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise BundleError("is a link, which is not followed here", where=str(path), remedy="remove it") from error
        if error.errno == errno.ENXIO:
            raise BundleError("is not a regular file", where=str(path), remedy="remove it") from error
        raise

    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise BundleError("is not a regular file", where=str(path), remedy="remove it")

    return handle


def sha256(path: Path | str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def inside(root: Path | str, name: str) -> Path:
    """`root / name`, refused (`BundleError`) when the name is absolute, climbs out, or a link leads out of `root`."""
    pure = PurePosixPath(name)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\\" in name or "\x00" in name:
        raise BundleError(f"the path {name!r} points outside the folder", where=str(root))

    path = Path(root) / pure
    try:
        leaves = not path.resolve().is_relative_to(Path(root).resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        raise BundleError(f"the path {name!r} cannot be followed: {error}", where=str(root)) from error

    if leaves:
        raise BundleError(f"the path {name!r} leads outside the folder through a link", where=str(root))
    return path


def claim_out(path: Path | str, *, overwrite: bool) -> Path:
    """The folder a command will write: must be absent or empty unless `overwrite`; raises `UsageError`."""
    path = Path(path)
    with system_errors(path):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file, not a folder", remedy="choose another --out")
        if path.is_dir() and any(path.iterdir()) and not overwrite:
            raise UsageError(f"{path} exists and is not empty", remedy="choose another --out, or pass --overwrite")
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "permission denied", str(path))

    return path


@contextlib.contextmanager
def no_empty_folder(path: Path | str) -> Iterator[None]:
    """Where the body fails, take away the folder `path` if the body made it and left nothing in it."""
    path = Path(path)
    was_there = path.exists()
    try:
        yield
    except BaseException:
        if not was_there:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


@contextlib.contextmanager
def whole_out(path: Path | str, *, overwrite: bool) -> Iterator[Path]:
    """`claim_out`, and a folder whose contents move into `path` where the body succeeds and go where it fails.

    Where `path` is not empty (`overwrite`), files of the same names are replaced and others stay.
    """
    import shutil

    with no_empty_folder(path):
        folder = claim_out(path, overwrite=overwrite)
        staging = folder / f".{secrets.token_hex(4)}.tmp"
        try:
            with system_errors(folder):
                staging.mkdir()
                yield staging
                sync(staging)
                for child in list(staging.iterdir()):
                    if child.is_dir() and (folder / child.name).is_dir():
                        publish(child, folder / child.name, synced=False)
                    else:
                        os.replace(child, folder / child.name)
                _fsync_folder(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def publish(staging: Path, final: Path, *, synced: bool = True) -> None:
    """Move a finished folder into place in one rename; an old one is set aside first and removed after.

    Its files are on the disk before, unless `synced` is false (tens of thousands of files that can be made again).
    Where the move fails the old folder is put back and `SystemFailure` raised. Both must be on one file system.
    """
    import shutil

    with system_errors(final):
        if synced:
            sync(staging)
        aside = None
        if final.exists():
            aside = final.with_name(f".{final.name}.{secrets.token_hex(4)}.old")
            os.replace(final, aside)
        try:
            os.replace(staging, final)
        except OSError:
            if aside is not None:
                os.replace(aside, final)
            raise
        _fsync_folder(final.parent)
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def text_of_sensor(path: Path) -> str | None:
    """What a file of the kernel (sysfs) says, stripped; None where it is absent, empty or cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
