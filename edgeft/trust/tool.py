"""What the interpreter runs that has model-signing: sign a folder, check a signature. JSON values in and out.
The job's `scratch` is a folder for temporary files, which whoever started the process removes.

Nothing is imported at the top but the standard library and edgeft's errors: the environment has nothing else of edgeft.
All cryptography is that of model-signing and of the package cryptography, on which it builds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.errors import BundleError, EdgeftError, InvalidInput, UsageError
from ..core.files import sha256

#: the environment variable that holds the password of an encrypted private key
PASSWORD = "EDGEFT_KEY_PASSWORD"


def sign(job: Mapping[str, Any]) -> dict[str, Any]:
    """Sign every file of the folder `bundle` but `ignored` with the private key `key`.

    Returns {"signature": the text of the signature's file, "key": the fingerprint, "files": the names that it covers}.
    Raises `UsageError` for a key that cannot be used, `BundleError` where a file cannot be hashed.
    """
    from model_signing import hashing, signing

    hashed = hashing.Config().set_ignored_paths(paths=list(job["ignored"]), ignore_git_paths=False)
    password = os.environ.get(PASSWORD)
    with _reading_key(job["key"]):
        # The package hands the password on as it is, and cryptography takes bytes.
        secret: Any = password.encode() if password else None
        config = signing.Config().use_elliptic_key_signer(private_key=job["key"], password=secret)

    with tempfile.TemporaryDirectory(dir=job.get("scratch")) as folder:
        place = Path(folder) / "signature"
        try:
            config.set_hashing_config(hashed).sign(job["bundle"], place)
        except (OSError, ValueError) as error:
            raise BundleError(f"cannot be signed: {error}", where=job["bundle"]) from error
        text = place.read_text(encoding="utf-8")

    statement = _statement(text, job["bundle"])
    return {"signature": text, "key": statement["key"], "files": sorted(statement["files"])}


def check(job: Mapping[str, Any]) -> dict[str, Any]:
    """Check the signature `signature` (text) of the folder `bundle` against the public keys `keys` (paths).

    Returns {"key": the fingerprint, "file": the key's path, "files": {name: sha256}}, all of them as they were signed.
    Raises `BundleError` where the signature is by another key, by one of `revoked`, or does not hold, `InvalidInput`
    for a file that is no public key.
    """
    where, text = job["bundle"], job["signature"]
    statement = _statement(text, where)
    trusted = {_fingerprint(path): path for path in job["keys"]}
    key = statement["key"]
    if key in job["revoked"]:
        raise BundleError(
            f"is signed by the key {key}, which is revoked", where=where, remedy="get a bundle that a current key signs"
        )

    if key not in trusted:
        raise BundleError(
            f"is signed by the key {key}, which is not trusted",
            where=where,
            remedy=f"trusted are {', '.join(sorted(trusted))} ({job['source']})",
        )

    absent = [name for name in statement["files"] if not os.path.lexists(Path(where) / name)]
    if absent:
        raise BundleError(f"{', '.join(absent)}: removed after signing", where=where)

    from model_signing import verifying

    with tempfile.TemporaryDirectory(dir=job.get("scratch")) as folder:
        place = Path(folder) / "signature"  # the text that was read above, whatever becomes of the bundle's file
        place.write_text(text, encoding="utf-8")
        config = verifying.Config().use_elliptic_key_verifier(public_key=trusted[key])
        with _checking(where, statement["files"]):
            config.set_ignore_unsigned_files(True).verify(Path(where), place)

    return {"key": key, "file": str(trusted[key]), "files": statement["files"]}


def run(function: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """`sign` or `check` of the job, as `{"error": ...}` where it fails with one of edgeft's errors."""
    try:
        return {"sign": sign, "check": check}[function](job)
    except EdgeftError as error:
        return error.as_dict()
    except ImportError as error:
        return {"error": "Missing", "message": f"model-signing does not import ({error})", "exit_code": 4}


def _statement(text: str, where: str) -> dict[str, Any]:
    """What a signature's file says, before anybody has checked it: the fingerprint of its key and the signed digests.

    Names that lead out of the folder are refused here, since the check opens every file that is named.
    """
    try:
        table = json.loads(text)
        key = table["verificationMaterial"]["publicKey"]["hint"]
        predicate = json.loads(base64.b64decode(table["dsseEnvelope"]["payload"]))["predicate"]
        kinds = (predicate["serialization"]["method"], predicate["serialization"]["hash_type"])
        digests = {entry["name"]: entry["digest"] for entry in predicate["resources"]}
        fits = isinstance(key, str) and re.fullmatch(r"[0-9a-f]{64}", key) and kinds == ("files", "sha256")
        if not fits or len(digests) != len(predicate["resources"]):
            raise ValueError("it names no key, or other digests than SHA-256 of whole files")
        for name, digest in digests.items():
            if not isinstance(digest, str) or name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"it names {name!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(
            f"the signature cannot be read ({type(error).__name__}: {str(error)[:200]})",
            where=where,
            remedy="sign the bundle again with edgeft sign",
        ) from error

    return {"key": key, "files": digests}


def _fingerprint(path: str) -> str:
    """The SHA-256 of a public key's PEM text, as model-signing writes it into signatures."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_public_key(Path(path).read_bytes())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:  # the last one of an unknown curve
        raise InvalidInput(
            "is no public key in PEM form", where=path, remedy="openssl ec -in KEY -pubout -out KEY.pub"
        ) from error

    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidInput(
            "is no key on an elliptic curve", where=path, remedy="P-256, P-384 or P-521 (docs/signing.md)"
        )

    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.PEM, form)).hexdigest()


@contextmanager
def _reading_key(path: str) -> Iterator[None]:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        yield
    except FileNotFoundError as error:
        raise UsageError("no such file", where=path, remedy="--key names a private key (docs/signing.md)") from error
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=path) from error
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm) as error:  # AttributeError: on no curve
        raise UsageError(
            f"cannot sign: {error}",
            where=path,
            remedy=f"a private key on P-256, P-384 or P-521 in PEM form; {PASSWORD} holds the password of one that is "
            "encrypted",
        ) from error


@contextmanager
def _checking(where: str, signed: Mapping[str, str]) -> Iterator[None]:
    """What model-signing raises as a sentence with the names of the files, which its own message has as reprs."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ == "InvalidSignature":
            message = "the signature does not hold: it is not by the key that it names, or was altered"
        elif altered := [name for name, digest in signed.items() if sha256(Path(where) / name) != digest]:
            message = f"{', '.join(altered)}: altered after signing"
        else:
            message = f"the signature does not hold: {str(error)[:300] or type(error).__name__}"
        raise BundleError(message, where=where, remedy="get the bundle again from who signed it") from error
