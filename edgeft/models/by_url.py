"""Weights that a package publishes at an address, in the cache of `torch.hub`: whole, checked, resumed."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from io import FileIO
from pathlib import Path

import torch

from ..core import files, leftovers, once
from ..core.errors import Missing, ModelError, SystemFailure
from ..core.progress import phase

#: attempts in a row that bring nothing, seconds to wait for an answer, bytes read at once
ATTEMPTS, TIMEOUT, BLOCK = 4, 20.0, 1 << 20
#: the start of the SHA-256 in the name of a published file, as torch.hub has it: mobilenet_v2-7ebf99e0.pth
_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def fetch(url: str, title: str, allow: bool) -> tuple[Path, str]:
    """The file of an address and its SHA-256: from the cache (`TORCH_HOME`), or with `allow` from there.

    Raises `Missing` without permission, `ModelError` for content of another digest than the name states (which is
    removed), `SystemFailure` where the server cannot be reached or ends every transfer early.
    """
    name = Path(urllib.parse.urlsplit(url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        if not allow:
            raise Missing(
                f"{title} is not on this machine, and nothing is downloaded unless that is allowed",
                where="model.weights",
                remedy="set model.allow_download = true in the recipe; without a network here, download "
                f"{url} on another machine and put it here as {path}",
                option="--allow-download",
            )
        with files.system_errors(path), once.alone(path):
            leftovers.sweep(path.parent, re.escape(name), age=0.0)
            if not path.is_file():  # another process brought it meanwhile
                with phase(f"downloading {name}"):
                    _download(url, path)

    return path, _checked(path, url)


def _checked(path: Path, url: str) -> str:
    """The digest of a file, which its name states in part; one that has another is removed."""
    digest = files.sha256(path)
    stated = _DIGEST.search(path.name)
    if stated and not digest.startswith(stated[1]):
        with contextlib.suppress(OSError), once.alone(path):
            if files.sha256(path) == digest:  # no other process has replaced it
                path.unlink()
        raise ModelError(
            f"{path.name} is not the published file: its digest is another one",
            where="model.weights",
            remedy=f"it was removed from {path.parent}: download it again from {url}",
        )

    return digest


def _download(url: str, path: Path) -> None:
    """Bring a file into its place, whole or not at all; a transfer that breaks off goes on where it stopped."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    failures, reason = 0, ""
    try:
        while failures < ATTEMPTS:
            before = partial.stat().st_size if partial.exists() else 0
            reason = _transfer(url, partial, before)
            if not reason:
                with partial.open("rb") as handle:
                    os.fsync(handle.fileno())
                partial.replace(path)
                return
            failures = 0 if partial.exists() and partial.stat().st_size > before else failures + 1
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)

    raise SystemFailure(
        f"{path.name} could not be downloaded ({reason})",
        where=url,
        remedy="check the network and proxies, then repeat the command; or put the file into " + str(path.parent),
    )


def _transfer(url: str, partial: Path, start: int) -> str:
    """Append what is still missing of a file; "" when it is whole, else what ended the transfer."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # the address is that of a package
            appends = response.status == 206
            length = response.headers.get("Content-Length")
            received = 0
            with files.system_errors(partial):
                file = partial.open("ab" if appends else "wb", buffering=0)
            with file:
                while block := response.read(BLOCK):
                    with files.system_errors(partial):
                        _write(file, block)
                    received += len(block)
    except urllib.error.HTTPError as error:
        if error.code < 500 and error.code not in (408, 429):
            raise ModelError(
                f"the server has no such weights (HTTP {error.code})",
                where=url,
                remedy="another version of the package may know another address",
            ) from error
        return f"HTTP {error.code}"
    except (OSError, HTTPException) as error:  # what the disk refused is `SystemFailure` here
        return str(getattr(error, "reason", None) or error) or type(error).__name__

    return "" if length is None or received == int(length) else f"it ended after {start + received} bytes"


def _write(file: FileIO, block: bytes) -> None:
    """All of a block, which a system may take in parts; unbuffered, so that closing has nothing left to write."""
    left = memoryview(block)
    while left:
        left = left[file.write(left) or 0 :]
