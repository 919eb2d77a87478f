"""The files of a bundle's folder: regular ones, without links, all of them listed."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..core import files
from ..core.errors import BundleError, SystemFailure, nearest
from ..plugins import BACKENDS
from .manifest import UNLISTED

#: suffixes of files that hold weights of a model beside it
WEIGHTS = (".data", ".bin", ".weights", ".onnx_data")
#: what is left of a file that edgeft writes into a bundle later, where the process was killed
_LEFT = re.compile(r"\.(" + "|".join(map(re.escape, UNLISTED)) + r")\.[0-9a-f]{8}\.tmp")
MANIFEST = "manifest.json"
EXPORT_AGAIN = "copy the whole folder again, or export it again"


def refuse_other_folders(path: Path) -> None:
    """Raise `BundleError` for a folder that is absent or is no bundle but something else, with what to name instead.

    A folder that may have been a bundle (no manifest, no bundle or run in it) is left to the checks of its files.
    """
    if not path.is_dir():
        if path.exists():
            raise BundleError("a bundle is a folder", where=str(path))
        beside = [str(folder) for folder in _bundles_in(path.parent)]
        raise BundleError("no such folder", where=str(path), remedy=nearest(str(path), beside) if beside else "")

    if (path / MANIFEST).exists():
        return

    if (path / "summary.json").is_file() or (path / "recipe.toml").is_file():
        raise BundleError(
            "is a run, not a bundle",
            where=str(path),
            remedy=f"make bundles of it: edgeft export {shlex.quote(str(path))}",
        )

    inner = _bundles_in(path)
    if inner:
        more = f" and {len(inner) - 8} more" if inner[8:] else ""
        raise BundleError(
            f"is no bundle, but holds {len(inner)}",
            where=str(path),
            remedy=f"name one: {', '.join(map(str, inner[:8]))}{more}",
        )


def _bundles_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if (path / MANIFEST).is_file())
    except OSError:
        return []


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


def refuse_unlisted(root: Path, manifest: Mapping[str, Any]) -> None:
    """Raise `BundleError` for a file of the folder that the manifest does not list: nobody vouches for it. And for a
    link or what is no regular file, listed or not: a pipe in the place of a report would hold up who hashes the folder.

    Left in peace are what edgeft itself writes there later (`UNLISTED`), what a write that was cut short has left of
    it, and what a script of the bundle builds on the board (`Form.built`).
    """
    built = _built(manifest)
    for name in walk(root):
        if name in manifest["files"] or name in UNLISTED or _LEFT.fullmatch(name):
            regular(root, name)
            continue
        if name in built:
            continue
        raise BundleError(
            f"{name!r} is not in the manifest: it is no part of the bundle",
            where=str(root),
            remedy="remove it, or copy the whole folder again",
        )


def _built(manifest: Mapping[str, Any]) -> frozenset[str]:
    backend = manifest["backend"]
    suffixes = [s for form in BACKENDS.get(backend).forms for s in form.built] if backend in BACKENDS else []
    stems = [Path(graph["file"]).stem for graph in manifest["graphs"]]
    return frozenset(f"{stem}{suffix}" for stem in stems for suffix in suffixes)


def check_external(root: Path, manifest: Mapping[str, Any]) -> None:
    """Raise `BundleError` where a model names a file that the manifest does not list as one of weights: the runtime
    would read it, whatever it is."""
    backend = manifest["backend"]
    record = BACKENDS.get(backend) if backend in BACKENDS else None
    if record is None or not record.external_data:
        return

    for model in (name for name in manifest["files"] if name.endswith(record.external_data)):
        for location in record.external_files(root / model):
            name = (PurePosixPath(model).parent / location).as_posix()
            if name not in manifest["files"]:
                what = "which the manifest does not list"
            elif PurePosixPath(name).suffix not in WEIGHTS:
                what = f"which is no file of weights ({', '.join(WEIGHTS)})"
            else:
                continue
            raise BundleError(f"{model} takes weights from {location!r}, {what}", where=str(root), remedy=EXPORT_AGAIN)
