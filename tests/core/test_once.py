"""What a cache holds is made by one process while others wait: whole or not at all, nothing left of the killed."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeft.core import environment, once
from edgeft.core.errors import SystemFailure

pytestmark = [
    pytest.mark.board,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="locks of POSIX, and /proc to see who waits"),
]
_MAKE = """
import sys
from pathlib import Path
from edgeft.core import once

def fill(folder):
    (folder / "half").write_text("")
    print("filling", flush=True)
    sys.stdin.readline()
    (folder / "who").write_text(sys.argv[2])

once.folder(Path(sys.argv[1]), fill)
"""
_GROUP = """
import sys
from edgeft.core import environment, interrupt
interrupt.install()
try:
    environment.run(["sh", "-c", "sleep 600 & echo $! > $0.part; mv $0.part $0; wait", sys.argv[1]], 300.0)
except KeyboardInterrupt:
    sys.exit(interrupt.exit_code())
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts processes, which end with the test."""
    processes: list[subprocess.Popen[str]] = []

    def started(code: str, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *map(str, words)]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield started
    for process in processes:
        with process:
            process.kill()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    assert true()


def opened(process: subprocess.Popen[str], path: Path) -> bool:
    """Whether a process has a file open."""
    names = []
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            names.append(os.readlink(link))
    return str(path) in names


def runs(number: str) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_of_two_processes_one_makes_it_and_the_other_takes_it(tmp_path: Path, start: Callable[..., object]) -> None:
    place = tmp_path / "cache" / "made"
    first = start(_MAKE, place, "first")
    assert first.stdout.readline() == "filling\n"
    second = start(_MAKE, place, "second")
    until(lambda: opened(second, tmp_path / "cache" / ".made.lock"))

    assert first.communicate("\n", timeout=60)[0] == "" and first.returncode == 0
    assert second.communicate("\n", timeout=60)[0] == "" and second.returncode == 0, "it made another one"
    assert (place / "who").read_text() == "first"
    assert os.listdir(tmp_path / "cache") == ["made"]


def test_the_next_one_takes_over_from_a_process_that_is_killed(tmp_path: Path, start: Callable[..., object]) -> None:
    place = tmp_path / "made"
    first = start(_MAKE, place, "first")
    assert first.stdout.readline() == "filling\n"
    second = start(_MAKE, place, "second")
    until(lambda: opened(second, tmp_path / ".made.lock"))
    first.kill()
    first.wait()

    assert second.communicate("\n", timeout=60)[0] == "filling\n"
    assert (place / "who").read_text() == "second"
    assert os.listdir(tmp_path) == ["made"]


@pytest.mark.parametrize("call", ["mkdir", "replace", "fsync"])
def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(SystemFailure, match="No space left"):
            once.folder(tmp_path / "made", lambda folder: None)
    assert not list(tmp_path.glob(".*")), "a temporary folder or a lock stays"
    once.folder(tmp_path / "made", lambda folder: None)
    assert os.listdir(tmp_path) == ["made"]


def test_what_is_of_no_use_stays_until_another_is_whole(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()

    def fails(folder: Path) -> None:
        raise OSError(errno.EIO, "no")

    def is_usable(place: Path) -> bool:
        return (place / "new").exists()

    with pytest.raises(SystemFailure):
        once.folder(tmp_path / "made", fails, is_usable)
    assert os.listdir(tmp_path) == ["made"] and os.listdir(tmp_path / "made") == []
    once.folder(tmp_path / "made", lambda folder: (folder / "new").touch(), is_usable)
    assert os.listdir(tmp_path) == ["made"] and os.listdir(tmp_path / "made") == ["new"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_what_a_program_started(
    tmp_path: Path, start: Callable[..., object], number: int, code: int
) -> None:
    process = start(_GROUP, tmp_path / "child")
    until((tmp_path / "child").exists)
    child = (tmp_path / "child").read_text().strip()
    assert runs(child)
    process.send_signal(number)
    assert process.wait(60) == code
    until(lambda: not runs(child))


def test_programs_end_in_words() -> None:
    assert environment.run(["no-such-program"], 1.0).returncode == 127
    assert environment.run(["sh", "-c", "echo out; echo err >&2; exit 3"], 60.0).stderr == "err\n"
    with pytest.raises(SystemFailure, match="did not end within 0 s"):
        environment.run(["sleep", "600"], 0.1)
    for number in (errno.ENOSPC, errno.EIO):
        with pytest.raises(SystemFailure, match=os.strerror(number)):
            environment.refused(f"OSError: [Errno {number}] {os.strerror(number)}: 'x'", Path("x"))
