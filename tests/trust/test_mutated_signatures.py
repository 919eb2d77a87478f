"""Signatures and keys that were altered at random: refused in words, or accepted where they say the same."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import draws
import pytest
from trust_keys import Keys

import edgeft
from edgeft.core import interpreter
from edgeft.core.errors import EdgeftError, InvalidInput, UsageError
from edgeft.trust import keys as trusted_keys
from edgeft.trust.signature import _text

SCRIPT = Path(__file__).with_name("mutated_signatures.py")
COUNT = 2000


def job_of(signed: Path, keys: Keys) -> dict[str, object]:
    return {
        "bundle": str(signed),
        "signature": _text(signed),
        "keys": [str(keys.public("alice"))],
        "revoked": [],
        "source": "--trust",
    }


@pytest.mark.random
def test_altered_signatures_and_keys(
    signer: str, signed: Path, keys: Keys, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    (tmp_path / "job.json").write_text(json.dumps(job_of(signed, keys)))
    seed = draws.generator("altered signatures", pytestconfig).randrange(2**32)
    package = str(Path(edgeft.__file__).parent)
    words = (str(tmp_path / "job.json"), str(seed), str(draws.trials(COUNT)))
    command = interpreter.there(signer, package, SCRIPT.read_text(), *words)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]

    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["wrong"] == []
    assert answer["counts"]["BundleError"] > COUNT / 2 and answer["counts"]["InvalidInput"] > COUNT / 20
    assert answer["counts"]["accepted"] > 0, "what says the same in other words"


@pytest.mark.random
def test_altered_lists_of_revoked_keys(keys: Keys, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """A line is a fingerprint, a comment, or an error: a key is not trusted again because of a slip."""
    rng = draws.generator("revoked", pytestconfig)
    (tmp_path / "alice.pub").write_bytes(keys.public("alice").read_bytes())
    whole = f"# gone\n{keys.fingerprint('alice')}  # lost\n{'0' * 64}\n".encode()
    for _ in range(draws.trials(COUNT)):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3))):
            i = rng.randrange(len(data))
            data[i : i + rng.randrange(2)] = rng.choice(
                (b"", b"\x00", b"\xff", b"\r\n", b"a", b" ", b"\xe2\x80\xa8", b"#")
            )
        (tmp_path / "revoked.txt").write_bytes(bytes(data))
        try:
            revoked = trusted_keys.read(tmp_path, "--trust").revoked
        except EdgeftError:
            continue
        lines = bytes(data).decode().splitlines()
        assert {line.partition("#")[0].strip().lower() for line in lines} - {""} == revoked


def test_keys_on_a_curve_that_nobody_knows(signed: Path, keys: Keys, tmp_path: Path) -> None:
    """What random keys found: the package raises an exception of its own for them."""
    for source, kind, words, use in (
        (keys.public("alice"), InvalidInput, "is no public key", lambda path: edgeft.load(signed, path)),
        (keys.private("alice"), UsageError, "cannot sign", lambda path: edgeft.sign(signed, path)),
    ):
        first, *body, last = source.read_text().splitlines()
        curve = bytes.fromhex("2a8648ce3d030107")  # P-256
        data = base64.b64decode("".join(body))
        assert curve in data
        text = base64.b64encode(data.replace(curve, bytes.fromhex("2ba648ce3d030107"))).decode()
        (tmp_path / "key").write_text("\n".join([first, text, last, ""]))
        with pytest.raises(kind, match=words):
            use(tmp_path / "key")
