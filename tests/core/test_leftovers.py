"""A folder has one writer, and what killed writers left is removed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeft.core.errors import UsageError
from edgeft.core.leftovers import OLD, alone_in, sweep

pytestmark = [pytest.mark.board, pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")]
_HOLD = """
import sys
from pathlib import Path
from edgeft.core.leftovers import alone_in

with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Starts a process that holds the lock of a folder."""
    started = []

    def hold(folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _HOLD, str(folder)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        started.append(process)
        return process

    yield hold
    for process in started:
        with process:  # closes its pipes
            process.kill()


def test_the_second_writer_is_told_and_the_lock_ends_with_the_process(tmp_path, holder):
    process = holder(tmp_path)
    with pytest.raises(UsageError, match="another process is writing"), alone_in(tmp_path):
        pass
    process.kill()
    process.wait()
    with alone_in(tmp_path):
        assert os.listdir(tmp_path) == []  # no lock file is left in the folder


def test_what_a_killed_process_left_is_swept_and_what_a_live_one_writes_is_not(tmp_path, holder):
    dead, live, other = (tmp_path / name for name in (".host.0123abcd.tmp", ".host.89abcdef.tmp", ".pi.0123abcd.tmp"))
    for folder in (dead, live, other):
        (folder / "inner").mkdir(parents=True)
    fresh, old = tmp_path / ".host.00000001.tmp", tmp_path / ".host.00000002.tmp"
    for file in (fresh, old):
        file.write_text("half")
    os.utime(old, (time.time() - 2 * OLD,) * 2)
    holder(live)
    sweep(tmp_path, "host")
    assert sorted(os.listdir(tmp_path)) == [".host.00000001.tmp", ".host.89abcdef.tmp", ".pi.0123abcd.tmp"]


def test_a_folder_set_aside_stays_until_another_is_in_its_place(tmp_path):
    (tmp_path / ".host.0123abcd.old").mkdir()
    sweep(tmp_path, "host")
    assert os.listdir(tmp_path) == [".host.0123abcd.old"]
    (tmp_path / "host").mkdir()
    sweep(tmp_path, "host")
    assert os.listdir(tmp_path) == ["host"]


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / ".host.0123abcd.tmp").symlink_to(tmp_path / "precious")
    sweep(tmp_path, "host")
    assert (tmp_path / "precious").is_dir()
