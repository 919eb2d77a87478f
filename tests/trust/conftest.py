"""Keys on elliptic curves, and a small bundle that one of them has signed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_bundle
from trust_keys import Keys

import edgeft
from edgeft.core import files
from edgeft.trust import environment

_MAKE = """
import sys
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa
folder = sys.argv[1]
encrypted = form.BestAvailableEncryption(b"secret")
keys = {name: (ec.generate_private_key(ec.SECP256R1()), form.NoEncryption()) for name in ("alice", "mallory")}
keys["locked"] = (ec.generate_private_key(ec.SECP384R1()), encrypted)
keys["rsa"] = (rsa.generate_private_key(65537, 2048), form.NoEncryption())
for name, (key, how) in keys.items():
    with open(f"{folder}/{name}.pem", "wb") as handle:
        handle.write(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, how))
    with open(f"{folder}/{name}.pub", "wb") as handle:
        handle.write(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
"""


@pytest.fixture(scope="session")
def signer() -> str:
    """The interpreter that has model-signing."""
    python = environment.python()
    if python is None:
        pytest.skip(f"model-signing is not installed ({environment.SETUP} installs it)")
    return python or sys.executable


@pytest.fixture(scope="session")
def keys(signer: str, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    subprocess.run([signer, "-I", "-c", _MAKE, str(folder)], check=True)
    return Keys(folder)


@pytest.fixture(scope="session")
def first(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a report, signed by alice. Read only."""
    path = tiny_bundle.build(tmp_path_factory.mktemp("signed"), "onnxruntime")
    files.write_json(path / "report.json", edgeft.verify(path))
    files.write_text(path / "report.html", "<p>a page")
    edgeft.sign(path, keys.private("alice"))
    return path


@pytest.fixture
def signed(first: Path, tmp_path: Path) -> Path:
    """A copy of it, under another name."""
    return Path(shutil.copytree(first, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def no_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGEFT_TRUST", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
