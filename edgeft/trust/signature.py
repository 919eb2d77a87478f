"""Sign a bundle, and check the signature of one that was opened.

Covered are the manifest and its digest, every file that it lists (models, baseline, samples, run.py, preprocessing) and
the reports: the recorded figures. Not covered is what comes later: the state of a device (`state.npz`) and engines
that the bundle's own script builds on a board.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ..bundle import folders, reader
from ..bundle.manifest import SIGNATURE
from ..bundle.reader import Bundle
from ..core import files, leftovers
from ..core.errors import BundleError, UsageError
from . import environment, keys

#: files that are no part of the manifest and are covered where they are there
REPORTS = ("report.json", "report.html")
_MANIFEST = ("manifest.json", "manifest.sha256")
#: bytes of a signature: some 200 a file
_MOST = 16 << 20
INTEGRITY_ONLY = "integrity only: no signature was checked, so nothing says who made this bundle"


def sign(path: Path, key: Path) -> dict[str, Any]:
    """Sign the bundle in the folder `path` with the private key in the file `key` (PEM, P-256, P-384 or P-521).

    An earlier signature is replaced. Returns {"signature": the file, "key": the fingerprint, "files": how many it
    covers, "verdict": that of the bundle's report or None}. Raises `BundleError`, `UsageError` for a key that cannot
    be used, `Missing` without model-signing, `SystemFailure`.
    """
    opened = reader.open(path)
    report = reader.recorded_report(path) or {}
    covered = _covered(opened)
    ignored = [name for name in folders.walk(path) if name not in covered]
    job = {"bundle": str(path.resolve()), "key": str(key.resolve()), "ignored": ignored}
    answer = environment.call("sign", job, where=path)
    _complete(opened, dict.fromkeys(answer["files"], ""), path)
    leftovers.sweep(path, re.escape(SIGNATURE))
    files.write_text(path / SIGNATURE, answer["signature"] + "\n")

    verdict = report.get("verdict")
    return {
        "bundle": str(path),
        "signature": str(path / SIGNATURE),
        "key": answer["key"],
        "files": len(answer["files"]),
        "verdict": verdict if isinstance(verdict, str) else None,
    }


def check(opened: Bundle, trust: Path | str | None = None) -> dict[str, Any]:
    """What is known of a bundle's origin: report.json's `trust`.

    With `trust` (a public key or a folder of them), or where the user's settings name keys (`keys.of_setting`), the
    bundle has to be signed by one of them: {"status": "signed", "key": fingerprint, "file": the key's file}. Otherwise
    no signature is checked: {"status": "integrity only", ...} with `signed`, whether there is one.

    Raises `BundleError` where the bundle is not signed, by another or a revoked key, or was altered after signing;
    `Missing` without model-signing, `UsageError` and `InvalidInput` for keys that cannot be used.
    """
    trusted = keys.of_setting(trust)
    signed = os.path.lexists(opened.path / SIGNATURE)
    if trusted is None:
        return {"status": "integrity only", "signed": signed}

    if not signed:
        raise BundleError(
            f"is not signed, and {trusted.source} asks for a signature",
            where=str(opened.path),
            remedy=f"edgeft sign {opened.path} --key KEY, by who vouches for it",
        )

    job = {
        "bundle": str(opened.path.resolve()),
        "signature": _text(opened.path),
        "keys": [str(key) for key in trusted.keys],
        "revoked": sorted(trusted.revoked),
        "source": trusted.source,
    }
    answer = environment.call("check", job, where=opened.path)
    _complete(opened, answer["files"], opened.path)
    _same_digests(opened, answer["files"])

    return {"status": "signed", "signed": True, "key": answer["key"], "file": Path(answer["file"]).name}


def refuse_signed(path: Path, *, what: str, remedy: str) -> None:
    """Raise `UsageError` where the bundle is signed: `what` would write into it, and its signature would not hold."""
    if os.path.lexists(path / SIGNATURE):
        raise UsageError(f"the bundle is signed, and {what} would break its signature", where=str(path), remedy=remedy)


def _covered(opened: Bundle) -> list[str]:
    """The names that a signature has to cover now."""
    reports = [name for name in REPORTS if os.path.lexists(opened.path / name)]
    return [*_MANIFEST, *opened.manifest["files"], *reports]


def _complete(opened: Bundle, signed: dict[str, str], path: Path) -> None:
    left_out = [name for name in _covered(opened) if name not in signed]
    if left_out:
        raise BundleError(
            f"the signature does not cover {', '.join(left_out)}", where=str(path), remedy="sign it with edgeft sign"
        )


def _same_digests(opened: Bundle, signed: dict[str, str]) -> None:
    """What was opened is what was signed, whatever has become of the files in between."""
    expected = {name: entry["sha256"] for name, entry in opened.manifest["files"].items()}
    expected["manifest.json"] = opened.digest
    altered = [name for name, digest in expected.items() if signed[name] != digest]
    if altered:
        raise BundleError(f"{', '.join(altered)}: altered after signing", where=str(opened.path))


def _text(path: Path) -> str:
    """The signature's file, which is no link, of bounded size."""
    file = folders.regular(path, SIGNATURE)
    with folders.reading(file), files.open_regular(file, follow=False) as handle:
        data = handle.read(_MOST + 1)

    try:
        if len(data) > _MOST:
            raise ValueError("it is too large")
        return data.decode()
    except ValueError as error:
        raise BundleError(f"the signature cannot be read ({error})", where=str(file)) from error
