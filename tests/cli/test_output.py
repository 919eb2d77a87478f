"""Where output cannot be written: closed, full, another encoding, a reader that has gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.board, pytest.mark.skipif(sys.platform != "linux", reason="shells and /dev/full of Linux")]
EDGEFT = f'"{sys.executable}" -m edgeft'


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert b"Traceback" not in done.stdout + done.stderr and b"Exception ignored" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("command", ["targets list", "targets list --json", "--help"])
@pytest.mark.parametrize(("place", "words"), [("> /dev/full", b"No space left"), (">&-", b"")])
def test_a_result_that_cannot_be_written_is_a_system_failure(command: str, place: str, words: bytes) -> None:
    if command == "--help" and place == ">&-":
        pytest.skip("click writes help to what stands in for a closed stream")
    done = shell(f"{EDGEFT} {command} {place}")
    assert done.returncode == 6 and words in done.stderr


@pytest.mark.parametrize("command", ["targets list", "targets list --json", "--help"])
def test_a_reader_that_has_gone_is_no_failure(command: str) -> None:
    done = shell(f"{EDGEFT} {command} | true")
    assert done.returncode in (0, 141) and b"error" not in done.stderr


def test_an_encoding_without_our_characters_replaces_them(tmp_path: Path) -> None:
    done = shell(f"{EDGEFT} predict {tmp_path}/→中 x.png", PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert done.returncode == 3 and b"no such folder" in done.stderr
    done = shell(f"{EDGEFT} targets show host --json", PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert done.returncode == 0 and json.loads(done.stdout)["name"] == "host"


def test_closed_streams_are_not_taken_by_files(tmp_path: Path) -> None:
    done = shell(f"cd {tmp_path} && {EDGEFT} init tabular <&- >&- 2>&-")
    assert done.returncode == 6
    assert (tmp_path / "recipe.toml").read_text().lstrip().startswith(("#", "task"))


@pytest.mark.parametrize(("command", "rest"), [("verify", []), ("predict", ["x.png"]), ("report", [])])
def test_a_path_that_no_system_takes_is_a_usage_error(command: str, rest: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeft", command, "a" * 5000, *rest], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "is longer than the system takes" in done.stderr, done.stderr[-300:]
