"""A signal in the middle of signing or checking: no temporary file, no process, and the signature that was there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from trust_keys import Keys


@pytest.mark.parametrize(("number", "code", "group"), [(signal.SIGINT, 130, True), (signal.SIGTERM, 143, False)])
def test_signing_that_is_interrupted(
    signed: Path, keys: Keys, tmp_path: Path, number: int, code: int, group: bool
) -> None:
    """When the other interpreter has begun: it has a temporary file of its own beside its request."""
    before = {path: path.read_bytes() for path in signed.rglob("*") if path.is_file()}
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "edgeft", "sign", signed, "--key", keys.private("mallory"), "-q"]
    for _ in range(20):
        process = subprocess.Popen(
            command, env={**os.environ, "TMPDIR": str(temporary)}, stderr=subprocess.PIPE, start_new_session=True
        )
        with process:
            while process.poll() is None and len(list(temporary.rglob("*"))) < 3:
                pass
            (os.killpg if group else os.kill)(process.pid, number)
            process.communicate(timeout=120)

        assert process.returncode in (0, code) and list(temporary.iterdir()) == []
        assert not list(signed.glob(".*.tmp"))
        if process.returncode == code:
            assert {path: path.read_bytes() for path in signed.rglob("*") if path.is_file()} == before
            return

    raise AssertionError("it was always done before the signal came")
