"""A real sshd on loopback with keys and settings of its own; the user's own ssh files are not touched."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Server:
    """`url` is the address of a device whose root is `root`; `environ` makes ssh use this server's keys."""

    folder: Path
    port: int
    root: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{self.root}"

    @property
    def environ(self) -> dict[str, str]:
        return {"EDGEFT_SSH_COMMAND": f"ssh -F {self.folder / 'config'}"}

    def configure(self, identity: str = "user_key") -> None:
        """The client's side: which key, and which hosts are known."""
        (self.folder / "config").write_text(
            f"Host *\n  IdentityFile {self.folder / identity}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder / 'known_hosts'}\n  GlobalKnownHostsFile /dev/null\n  LogLevel ERROR\n"
        )

    def trust(self, key: str = "host_key") -> None:
        public = (self.folder / f"{key}.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")

    def hang_up(self) -> int:
        """End every connection, as a broken network would; how many there were."""
        children = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), 9)
        return len(children)


def _program() -> str:
    for place in (shutil.which("sshd"), "/usr/sbin/sshd"):
        if place and Path(place).exists():
            return place
    pytest.skip("no sshd is installed (openssh-server)")


def _key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@contextlib.contextmanager
def serving(folder: Path, root: Path, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """A server that is ended with the context; commands there see `environment` too."""
    program = _program()
    if not shutil.which("ssh") or not shutil.which("ssh-keygen"):
        pytest.skip("no ssh client is installed")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "other_host_key", "user_key", "stranger_key"):
        _key(folder / name)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host_key'}\nPidFile {folder / 'pid'}\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\n"
        + "".join(f"SetEnv {key}={value}\n" for key, value in (environment or {}).items())
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd separates its privileges
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    server = Server(folder, port, root, process)
    server.configure()
    server.trust()
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if process.poll() is not None:
                pytest.skip(f"sshd does not start here: {(folder / 'log').read_text()[-300:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield server
    finally:
        server.hang_up()
        process.kill()
        process.wait()


@contextlib.contextmanager
def board(folder: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """A server whose board was set up with this interpreter, with settings of its own below `folder`."""
    from edgeft.devices import setup

    with serving(folder / "server", folder / "board", environment) as server:
        for key, value in server.environ.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        setup.setup(server.url, python=PYTHON)
        yield server


PYTHON = sys.executable
