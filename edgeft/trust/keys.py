"""The keys that are trusted: a public key, or a folder of them with a list of those that are revoked.

    keys/*.pub, keys/*.pem    public keys on an elliptic curve (P-256, P-384, P-521), PEM
    keys/revoked.txt          fingerprints of keys that no longer count, one a line; # begins a comment

A fingerprint is the SHA-256 of the public key's PEM text, 64 hexadecimal digits, as signatures carry it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..config import shipped
from ..core import files
from ..core.errors import BundleError, InvalidInput, UsageError

#: the environment variable and the folder of the user's settings that demand a signature of every bundle
VARIABLE, FOLDER = "EDGEFT_TRUST", "trust"
REVOKED = "revoked.txt"
_SUFFIXES = (".pub", ".pem")
#: bytes of a list of revoked keys
_MOST = 1 << 20


@dataclass(frozen=True)
class Trust:
    """The files of trusted public keys, the fingerprints that are revoked, and what names them (`--trust`, ...)."""

    keys: tuple[Path, ...]
    revoked: frozenset[str]
    source: str


def of_setting(explicit: Path | str | None) -> Trust | None:
    """The keys that a bundle has to be signed with: those of `explicit`, else of the variable `EDGEFT_TRUST`, else of
    the folder `trust` of the user's settings; None where none of the three is set.

    Raises `UsageError` where there is no key, `InvalidInput` for a list of revoked keys that cannot be read.
    """
    if explicit is not None:
        return read(files.user_path(explicit), "--trust")
    if value := os.environ.get(VARIABLE):
        return read(files.user_path(value), VARIABLE)

    settings = shipped.user_folder(FOLDER)
    return read(settings, str(settings)) if os.path.lexists(settings) else None


def read(path: Path, source: str) -> Trust:
    """The keys of a file or folder; `source` is what messages call them. Raises as `of_setting`."""
    if path.is_file():
        return Trust((path,), _revoked(path.parent / REVOKED), source)

    if not path.is_dir():
        raise UsageError(
            f"{path} does not exist: no key is trusted",
            where=source,
            remedy="name a public key, or a folder of them (docs/signing.md)",
        )

    names = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if not names:
        raise UsageError(
            f"{path} holds no public key ({', '.join(f'*{suffix}' for suffix in _SUFFIXES)})",
            where=source,
            remedy="copy the public keys that you trust there (docs/signing.md)",
        )

    return Trust(tuple(names), _revoked(path / REVOKED), source)


def _revoked(path: Path) -> frozenset[str]:
    """The fingerprints of a list, none where there is no list. A line that is none is refused: a key with a misspelt
    fingerprint would stay trusted."""
    if not os.path.lexists(path):
        return frozenset()

    try:
        with files.open_regular(path) as handle:
            text = handle.read(_MOST + 1).decode()
    except (OSError, UnicodeDecodeError, BundleError) as error:
        reason = error.message if isinstance(error, BundleError) else str(error)
        raise InvalidInput(f"cannot be read ({reason})", where=str(path)) from error

    if len(text) > _MOST:
        raise InvalidInput("is too large to be a list of fingerprints", where=str(path))

    fingerprints = set()
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip().lower()
        if word and not re.fullmatch(r"[0-9a-f]{64}", word):
            raise InvalidInput(
                f"{word[:80]!r} is no fingerprint of a key (64 hexadecimal digits)", where=f"{path}:{number}"
            )
        fingerprints |= {word} if word else set()

    return frozenset(fingerprints)
