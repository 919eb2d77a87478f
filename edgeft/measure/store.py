"""Accepted bundles, by content: a folder that a CI cache or an artifact store can carry.

    objects/DIGEST/                    a bundle, whole; DIGEST is the sha256 of its manifest, which lists every file's
    accepted/HOST/KEY.json             which object is accepted on that kind of host; KEY is a bundle's name and target
    hosts/HOST-RUNTIME-THREADS.json    how far the same artifact differs from itself there (`--calibrate`)
    history.jsonl                      one line a comparison

Two jobs may use it at once: objects never change, pointers are replaced whole, history is appended in one write. What
is kept is the artifact, never its time: a comparison measures both sides afresh.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bundle import reader as bundles
from ..bundle.reader import Bundle
from ..core import files, leftovers, strict_json
from ..core.errors import BundleError, InvalidInput

SCHEMA = "1.0"
#: what makes two hosts of one kind: a baseline of another kind was accepted for other kernels
HOST_KEYS = ("cpu", "isa", "flags", "cores")


@dataclass(frozen=True)
class Accepted:
    """The baseline found for a bundle: its folder, the record of its acceptance, and whether another host's it is."""

    path: Path
    record: Mapping[str, Any]
    cross_host: bool


def digest(bundle: Bundle) -> str:
    """The content of a bundle as one sha256: that of its manifest, which holds the digest of every file."""
    return files.sha256(bundle.path / "manifest.json")


def host_id(fingerprint: Mapping[str, Any]) -> str:
    """12 hex digits for a kind of host: CPU, instruction set, number of cores."""
    text = json.dumps([fingerprint.get(key) for key in HOST_KEYS])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def key_of(bundle: Bundle) -> str:
    """What successive exports of one model to one board have in common, as a file name."""
    text = f"{bundle.name}-{bundle.target}-{bundle.backend}"
    tail = hashlib.sha256(json.dumps([bundle.name, bundle.target, bundle.backend]).encode()).hexdigest()[:6]
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', text)[:80]}-{tail}"


def accept(root: Path, bundle: Bundle, fingerprint: Mapping[str, Any], note: Mapping[str, Any] | None = None) -> str:
    """Keep a copy of `bundle` and make it the baseline on this kind of host; the digest of what was kept.

    Raises `SystemFailure` where the store cannot be written; a baseline that was there then stays.
    """
    name = digest(bundle)
    place = root / "objects" / name
    leftovers.sweep(root / "objects", "[0-9a-f]{12}")
    leftovers.sweep(root / "accepted" / host_id(fingerprint), ".*")

    if not place.exists():
        staging = root / "objects" / f".{name[:12]}.{secrets.token_hex(4)}.tmp"
        with files.system_errors(place), contextlib.ExitStack() as stack:
            try:
                staging.mkdir(parents=True)
                stack.enter_context(leftovers.alone_in(staging))
                # only what the manifest lists: the state of a device is not part of the artifact
                for file in (*bundle.manifest["files"], "manifest.json", "manifest.sha256"):
                    target = staging / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(bundle.path / file, target)

                bundles.open(staging)
                with contextlib.suppress(FileExistsError):
                    files.sync(staging)
                    _rename(staging, place)
                    files.renamed_into(place)
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    record = {
        "schema": SCHEMA,
        "object": name,
        "name": bundle.name,
        "target": bundle.target,
        "backend": bundle.backend,
        "accepted": now(),
        "fingerprint": dict(fingerprint),
        **(note or {}),
    }
    files.write_json(root / "accepted" / host_id(fingerprint) / f"{key_of(bundle)}.json", record)

    return name


def _rename(staging: Path, place: Path) -> None:
    """Move a finished object into place; where another job was faster its copy is as good."""
    try:
        os.rename(staging, place)
    except OSError:
        if not place.is_dir():
            raise


def find(root: Path, bundle: Bundle, fingerprint: Mapping[str, Any], *, cross_host: bool = False) -> Accepted | None:
    """The baseline of `bundle` on this kind of host; None where nothing was ever accepted.

    Where only other kinds of host have one it is refused (`InvalidInput`), or with `cross_host` the newest is taken.
    Raises `BundleError` for a baseline that is damaged.
    """
    name = f"{key_of(bundle)}.json"
    folder = root / "accepted" / host_id(fingerprint) / name
    if folder.is_file():
        return _opened(root, folder, cross=False)

    others = sorted((root / "accepted").glob(f"*/{name}"), key=lambda path: path.stat().st_mtime_ns)
    if not others:
        return None

    if not cross_host:
        record = _read(others[-1])
        cpu = (record.get("fingerprint") or {}).get("cpu")
        raise InvalidInput(
            f"the baseline was accepted on another kind of machine ({cpu}; this is {fingerprint.get('cpu')})",
            where=str(others[-1]),
            remedy="accept one here (--accept), or compare with a bundle (--against), or --cross-host for advice",
        )

    return _opened(root, others[-1], cross=True)


def _opened(root: Path, pointer: Path, *, cross: bool) -> Accepted:
    record = _read(pointer)
    name = str(record.get("object"))
    if not re.fullmatch("[0-9a-f]{64}", name):
        raise BundleError("names no object", where=str(pointer), remedy="accept a baseline again (--accept)")
    return Accepted(root / "objects" / name, record, cross)


def _read(path: Path) -> dict[str, Any]:
    try:
        record = strict_json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(
            f"cannot be read ({error})", where=str(path), remedy="remove it, and --accept again"
        ) from error

    if not isinstance(record, dict):
        raise BundleError("is not a JSON object", where=str(path), remedy="remove it, and --accept again")

    return record


def spread_path(root: Path, fingerprint: Mapping[str, Any], backend: str, threads: int | None) -> Path:
    return root / "hosts" / f"{host_id(fingerprint)}-{backend}-{threads or 0}.json"


def keep_spread(root: Path, fingerprint: Mapping[str, Any], backend: str, threads: int | None, spread: Any) -> Path:
    """Write what `--calibrate` found for this kind of host, runtime and number of threads."""
    path = spread_path(root, fingerprint, backend, threads)
    files.write_json(path, {"schema": SCHEMA, "at": now(), "fingerprint": dict(fingerprint), **spread})
    return path


def spread(root: Path, fingerprint: Mapping[str, Any], backend: str, threads: int | None) -> float | None:
    """The A/A spread of this kind of host (0.013 = 1.3 %), None where it was never calibrated."""
    path = spread_path(root, fingerprint, backend, threads)
    if not path.is_file():
        return None

    value = _read(path).get("spread")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 10:
        raise BundleError(f"spread is {value!r}", where=str(path), remedy="calibrate again (--calibrate)")

    return float(value)


def remember(root: Path, line: Mapping[str, Any]) -> None:
    """Append one line to the history, in one write: lines of two jobs do not mix."""
    path = root / "history.jsonl"
    data = (json.dumps({"at": now(), **line}, allow_nan=False) + "\n").encode()
    with files.system_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # a crash cut the last line short
            whole = b"\n" + data if torn else data
            if os.write(handle, whole) < len(whole):  # a full disk takes a part first
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        finally:
            os.close(handle)


def history(root: Path) -> list[dict[str, Any]]:
    """The comparisons in the order in which they were made; a line cut short by a crash is left out."""
    try:
        text = (root / "history.jsonl").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []

    entries = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            entry = strict_json.loads(line)
            if isinstance(entry, dict):
                entries.append(entry)

    return entries


def now() -> str:
    """The time as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
