"""The files of a bundle's folder: regular ones, without links, all of them listed."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core import files
from ..core.errors import BundleError, SystemFailure
from ..plugins import BACKENDS
from .manifest import UNLISTED

EXPORT_AGAIN = "copy the whole folder again, or export it again"


def regular(root: Path, name: str) -> Path:
    """`root / name`: a regular file, with no link on the way to it."""
    path = root
    for part in Path(name).parts:
        path = path / part
        with reading(path):
            try:
                mode = path.lstat().st_mode
            except (FileNotFoundError, NotADirectoryError) as error:
                raise BundleError(f"{name} is missing", where=str(root), remedy=EXPORT_AGAIN) from error

        if stat.S_ISLNK(mode):
            raise BundleError(f"{path.relative_to(root)} is a link", where=str(root), remedy=EXPORT_AGAIN)

    if not stat.S_ISREG(mode):
        raise BundleError(f"{name} is not a regular file", where=str(root), remedy=EXPORT_AGAIN)

    return files.inside(root, name)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SystemFailure(f"could not read: {error.strerror or error}", where=str(path)) from error


def walk(root: Path) -> Iterator[str]:
    """Every name below `root` that is no folder (links count, and are not followed), sorted, with forward slashes."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted(names + links):
            yield (Path(folder) / name).relative_to(root).as_posix()


def unlisted(root: Path, listed: Mapping[str, Any], backend: str) -> tuple[str, ...]:
    """Notes on files that the manifest does not list.

    Raises `BundleError` for one that a listed file names, where files of the runtime `backend` may hold the names of
    others (`Backend.external_data`): it would be read unchecked.
    """
    external_data = BACKENDS.get(backend).external_data if backend in BACKENDS else ()
    extra = [name for name in walk(root) if name not in listed and name not in UNLISTED]
    for model in (name for name in listed if name.endswith(external_data)):
        for name in extra:
            if _mentions(root / model, Path(name).name.encode(errors="surrogateescape")):
                raise BundleError(
                    f"{model} refers to {name!r}, which the manifest does not list",
                    where=str(root),
                    remedy=EXPORT_AGAIN,
                )

    return tuple(f"{name!r} is not part of the bundle and is not used" for name in extra)


def _mentions(path: Path, word: bytes) -> bool:
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(word) >= 0
