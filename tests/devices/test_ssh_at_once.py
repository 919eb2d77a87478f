"""Two processes at once on a board, one that was killed there, and one whose user pressed ctrl-C: with a real sshd."""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sshd

from edgeft.core import files, interpreter
from edgeft.core.errors import EdgeftError, UsageError
from edgeft.devices import setup
from edgeft.devices.ssh import Ssh


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    folder = tmp_path_factory.mktemp("sshd")
    with sshd.serving(folder / "server", folder / "board") as made:
        yield made


@pytest.fixture
def board(server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ssh:
    for key, value in server.environ.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    server.configure()
    server.trust()
    return Ssh.parse(server.url).having({"python": sshd.PYTHON})


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    assert true()


def test_what_others_carry_over_stays_and_what_the_killed_left_goes(board: Ssh, server: sshd.Server, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.txt").write_text("a")
    place = Path(board.carry(data))
    digest = place.name[:12]
    (server.root / place).rename(server.root / "elsewhere")

    shelf = server.root / "data"
    ended = subprocess.Popen(["true"])
    ended.wait()
    live, dead = shelf / f".{digest}.{os.getpid()}.tmp", shelf / f".{digest}.{ended.pid}.tmp"
    for folder in (live, dead):
        folder.mkdir()
        (folder / "half").touch()
    assert Path(board.carry(data)) == place and (server.root / place / "a.txt").read_text() == "a"
    assert {path.name for path in shelf.iterdir()} == {live.name, place.name, f"{place.name}.sums"}


def test_the_second_one_that_sets_up_a_board_is_told(board: Ssh, server: sshd.Server, tmp_path: Path):
    lock = files.open_lock(server.root / ".venv.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process is setting it up"):
            setup.setup(server.url, runtimes=["litert"])
    finally:
        os.close(lock)
    assert not (server.root / "venv").exists()


def test_ctrl_c_ends_what_installs_on_the_board(board: Ssh, server: sshd.Server, tmp_path: Path):
    script = f"sleep 600 & echo $! > {tmp_path}/part && mv {tmp_path}/part {tmp_path}/child && wait"
    command = board.ssh(f"exec {shlex.join(interpreter.script(setup._ALONE, script, python=sshd.PYTHON))}")
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        until((tmp_path / "child").exists)
        child = Path("/proc") / (tmp_path / "child").read_text().strip()
        assert child.exists()
        process.kill()
    until(lambda: not child.exists() or "Z" in (child / "stat").read_text().rsplit(")", 1)[1])


@pytest.mark.slow
def test_an_environment_that_was_cut_short_is_made_again(board: Ssh, server: sshd.Server, tmp_path: Path):
    half = server.root / "venv" / "bin"
    half.mkdir(parents=True)
    home = Path(sys.base_prefix) / "bin"
    (half.parent / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
    (half / "python").symlink_to(home / f"python3.{sys.version_info.minor}")  # before pip is there
    (tmp_path / "wheels").mkdir()
    with pytest.raises(EdgeftError, match="No matching distribution"):
        setup.setup(server.url, runtimes=["litert"], wheels=tmp_path / "wheels")
    done = subprocess.run([half / "python", "-I", "-m", "pip", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and str(server.root) in done.stdout
