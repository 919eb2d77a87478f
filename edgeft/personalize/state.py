"""The state of a device: one file with the last versions of the trained tail, replaced atomically.

The file is an .npz: `journal` (JSON: who, when, what was measured, digests) and the parameters of every version,
`<version>/<number>`. Writing goes to a temporary name, is synced and renamed; a process that is killed leaves the old
file or the new one. Rolling back writes the file without its last version. One writer at a time holds a lock; readers
need none.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle.reader import Bundle
from ..core import files, npz, strict_json
from ..core.errors import BundleError, SystemFailure, UsageError
from .plan import Plan

SCHEMA = 1
#: versions that a file keeps, so that a rollback can go that far
KEPT = 5
FILE = "state.npz"
_MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class Version:
    """One set of parameters. `labels` are names of classes that were added; `told` is what was measured of it."""

    number: int
    parameters: list[np.ndarray]
    labels: tuple[str, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """The versions of a file, oldest first; none before the first update."""

    path: Path
    versions: tuple[Version, ...] = ()

    @property
    def last(self) -> Version | None:
        return self.versions[-1] if self.versions else None


def identity(bundle: Bundle) -> str:
    """What binds a state to its bundle: the digest of its manifest."""
    return files.sha256(bundle.path / "manifest.json")


def place(bundle: Bundle, state_file: Path | str | None) -> Path:
    """The state file: the given one, else the one inside the bundle's folder."""
    return Path(state_file) if state_file is not None else bundle.path / FILE


def read(path: Path, bundle: Bundle, plan: Plan) -> State:
    """The state at `path`; empty where there is no file.

    Raises `BundleError` where it is damaged or of another bundle, `SystemFailure` where it may not be read.
    """
    if not os.path.lexists(path):
        return State(path)

    try:
        arrays = npz.read(path, limit=_MOST_BYTES, follow=False)
    except OSError as error:
        raise SystemFailure(f"could not read: {error.strerror or error}", where=str(path)) from error
    except BundleError as error:
        raise _damaged(path, error.message) from error

    try:
        journal = strict_json.loads(bytes(arrays["journal"]).decode())
        owner, entries = journal["bundle"], list(journal["versions"])
        if journal["schema"] != SCHEMA:
            raise _damaged(path, f"has the schema {journal['schema']!r}, this edgeft reads {SCHEMA}")
        if owner != identity(bundle):
            raise BundleError(
                "belongs to another bundle",
                where=str(path),
                remedy="personalize this bundle anew, or give the state file that was made with it (--state)",
            )

        versions = tuple(_version(entry, arrays, plan, path) for entry in entries)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"has no journal that can be read ({error})") from error

    return State(path, versions)


def _version(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray], plan: Plan, path: Path) -> Version:
    number = int(entry["version"])
    parameters = []
    for i, expected in enumerate(plan.parameters):
        value = arrays[f"{number}/{i}"]
        if value.dtype != np.float32 or value.shape != expected.shape or not np.isfinite(value).all():
            raise _damaged(
                path, f"version {number}: {expected.name} is not a finite float32 tensor {list(expected.shape)}"
            )
        parameters.append(value)

    if entry["sha256"] != _digest(parameters):
        raise _damaged(path, f"version {number} was altered: its digest is not the journal's")

    return Version(number, parameters, tuple(str(label) for label in entry["labels"]), dict(entry["told"]))


def _damaged(path: Path, what: str) -> BundleError:
    return BundleError(
        what,
        where=str(path),
        remedy="delete the file to go back to the model as it was exported; the bundle itself is not touched",
    )


def _digest(parameters: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for value in parameters:
        digest.update(np.ascontiguousarray(value, np.float32).tobytes())
    return digest.hexdigest()


def write(state: State, bundle: Bundle) -> None:
    """Replace the file by these versions (at most `KEPT` of them); `SystemFailure` leaves the old file as it was."""
    versions = state.versions[-KEPT:]
    journal = {
        "schema": SCHEMA,
        "bundle": identity(bundle),
        "versions": [
            {"version": v.number, "labels": list(v.labels), "sha256": _digest(v.parameters), "told": dict(v.told)}
            for v in versions
        ],
    }
    text = json.dumps(journal, allow_nan=False).encode()
    arrays = {f"{v.number}/{i}": value for v in versions for i, value in enumerate(v.parameters)}

    with io.BytesIO() as buffer:
        np.savez(buffer, journal=np.frombuffer(text, np.uint8), **arrays)  # type: ignore[arg-type]
        content = buffer.getvalue()

    try:
        files.write_bytes(state.path, content)
    except SystemFailure as error:
        error.remedy = "free some space, or name a --state file in a folder that you may write to"
        raise


def rolled_back(state: State) -> State:
    """The state without its last version; `UsageError` where there is none."""
    if not state.versions:
        raise UsageError("the bundle has no personalized state to roll back", where=str(state.path))
    return State(state.path, state.versions[:-1])


def now() -> str:
    """The time as a journal has it: UTC, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def next_number(state: State) -> int:
    return state.versions[-1].number + 1 if state.versions else 1


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the lock of a state file; `UsageError` at once where another process has it, `SystemFailure` where nothing
    can be written there. Temporary files of a process that was killed are removed."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = files.open_lock(lock)
    except OSError as error:
        raise SystemFailure(
            f"could not write: {error.strerror or error}",
            where=str(path.parent),
            remedy="name a --state file in a folder that you may write to",
        ) from error

    try:
        _lock(handle, path)
        for left in path.parent.glob(f".{path.name}.*.tmp"):
            with contextlib.suppress(OSError):
                left.unlink()
        yield
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system: writing is still atomic
        return

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            "another process is personalizing with this state file", where=str(path), remedy="wait until it is done"
        ) from error
    except OSError:  # a file system without locks
        return
