"""Many boards: the file that lists them, three real sshd on loopback, boards that are gone and that come back."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sshd
import tiny_bundle

import edgeft
from edgeft.cli.entry import run as main
from edgeft.core.errors import BundleError, EdgeftError, InvalidInput, Missing, SystemFailure, UsageError
from edgeft.devices import fleet, setup
from edgeft.devices.fleet import Board
from edgeft.devices.link import LinkLost
from edgeft.devices.ssh import Ssh

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


def test_a_file_of_boards(tmp_path: Path) -> None:
    file = tmp_path / "boards.txt"
    file.write_text("# the line\n\nssh://pi@a.local\nssh://pi@b.local:2222  data='new sounds/b'  # by the door\nhost\n")
    assert fleet.read(file) == [
        Board("ssh://pi@a.local"),
        Board("ssh://pi@b.local:2222", {"data": "new sounds/b"}),
        Board("host"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no board"),
        ("# nothing\n", "lists no board"),
        ("ssh://a\npi@b.local\n", "boards.txt:2: 'pi@b.local' is not a device"),
        ("ssh://a\nssh://b\nssh://a\n", "boards.txt:3: ssh://a is listed twice"),
        ("ssh://a date=x\n", "did you mean 'data'"),
        ("ssh://a data\n", "write data=PATH"),
        ("ssh://a data='x\n", "quot"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_mistakes_in_a_file_of_boards(tmp_path: Path, text: str | bytes, words: str) -> None:
    file = tmp_path / "boards.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInput) as caught:
        fleet.read(file)
    assert words in str(caught.value)
    with pytest.raises(UsageError, match="named twice"):
        fleet.boards_of(["ssh://a", "ssh://a"], None)


def test_what_may_pass_is_tried_again_and_nothing_else() -> None:
    calls: dict[str, int] = {}
    waits: list[float] = []
    errors: dict[str, EdgeftError] = {
        "lost": LinkLost("the connection broke"),
        "away": Missing("nothing answers at that port"),
        "damaged": BundleError("a file is altered"),
        "full": SystemFailure("No space left on device"),
    }

    def work(board: Board) -> dict[str, Any]:
        calls[board.name] = calls.get(board.name, 0) + 1
        if board.name == "bug":
            raise KeyError("x")
        if board.name == "late" and calls["late"] < 3:
            raise errors["away"]
        if board.name in errors:
            raise errors[board.name]
        return {"verdict": "pass"}

    names = ["good", "late", *errors, "bug"]
    results = fleet.on_all([Board(name) for name in names], work, retries=2, jobs=2, sleep=waits.append)
    assert [result["device"] for result in results] == names
    assert [result["attempts"] for result in results] == [1, 3, 3, 3, 1, 1, 1]
    assert [result.get("error") for result in results[2:]] == [
        "LinkLost",
        "Missing",
        "BundleError",
        "SystemFailure",
        "InternalError",
    ]
    assert sorted(waits) == [2.0, 2.0, 2.0, 4.0, 4.0, 4.0]
    assert fleet.counts(results) == {"boards": 7, "pass": 2, "errors": 5}


def test_a_hundred_boards_are_worked_on_side_by_side() -> None:
    """A hundred boards of 50 ms each, sixteen at once: a twelfth of the time that one after the other takes."""
    begun = time.perf_counter()
    results = fleet.on_all(
        [Board(f"host{k}") for k in range(100)], lambda board: time.sleep(0.05) or {"verdict": "pass"}
    )
    assert len(results) == 100 and time.perf_counter() - begun < 2.5


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[sshd.Server]]:
    folder = tmp_path_factory.mktemp("fleet")
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(sshd.serving(folder / f"s{k}", folder / f"board{k}")) for k in range(3)]


@pytest.fixture(scope="module")
def settings(servers: list[sshd.Server], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that reaches three boards which were set up, each behind a server of its own with own keys."""
    folder = tmp_path_factory.mktemp("settings")
    keys = [f"  IdentityFile {server.folder / 'user_key'}" for server in servers]
    known = " ".join(str(server.folder / "known_hosts") for server in servers)
    lines = ["Host *", *keys, "  IdentitiesOnly yes", f"  UserKnownHostsFile {known}", "  LogLevel ERROR"]
    (folder / "config").write_text("\n".join(lines) + "\n")
    environ = {"EDGEFT_SSH_COMMAND": f"ssh -F {folder / 'config'}", "XDG_CONFIG_HOME": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in environ.items():
            patch.setenv(key, value)
        for server in servers:
            setup.setup(server.url, python=sshd.PYTHON)
    return environ


@pytest.fixture
def boards(servers: list[sshd.Server], settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of the boards, all of them switched on and known."""
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    for server in servers:
        server.trust()
        _start(server)
    return [server.url for server in servers]


def _stop(server: sshd.Server) -> None:
    server.hang_up()
    server.process.kill()
    server.process.wait()


def _start(server: sshd.Server) -> None:
    if server.process.poll() is None:
        return
    argv = [sshd._program(), "-D", "-e", "-f", str(server.folder / "sshd_config")]
    server.process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        time.sleep(0.05)


@pytest.mark.slow
def test_boards_that_fail_hold_up_no_other(
    boards: list[str], servers: list[sshd.Server], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One board is switched off and one has another host key: the third is measured."""
    bundle = tiny_bundle.build(tmp_path)
    _stop(servers[1])
    servers[2].trust("other_host_key")
    file = tmp_path / "boards.txt"
    file.write_text("\n".join(boards))
    code = main(["bench", str(bundle), "--devices", str(file), "--seconds", "0.2", "--retries", "0", "--json"])
    answer = json.loads(capfd.readouterr().out)
    assert code == 3
    assert [result["device"] for result in answer["results"]] == boards
    good, away, strange = answer["results"]
    assert good["p50_ms"] > 0 and good["verdict"] == "advisory"
    assert away["message"] == "nothing answers at that port" and strange["exit_code"] == 3
    assert answer["counts"] == {"boards": 3, "advisory": 1, "errors": 2}


def test_a_board_that_comes_back_is_verified(boards: list[str], servers: list[sshd.Server], tmp_path: Path) -> None:
    bundle = tiny_bundle.build(tmp_path)
    _stop(servers[0])
    said: list[str] = []

    def waited(seconds: float) -> None:
        _start(servers[0])

    results = fleet.on_all(
        [Board(name) for name in boards],
        lambda board: edgeft.verify(bundle, device=board.name),
        retries=1,
        say=said.append,
        sleep=waited,
    )
    assert [result["attempts"] for result in results] == [2, 1, 1]
    assert all(any(gate["name"] == "parity" for gate in result["gates"]) for result in results)
    assert any("attempt 2 of 2" in line for line in said) and any("3 of 3 boards" in line for line in said)


def test_a_connection_that_ends_without_a_word_is_tried_again() -> None:
    board = Ssh.parse("ssh://pi@board")
    assert fleet.passing(board.complaint("")) and fleet.passing(
        board.complaint("\nConnection to board closed by remote host.\n")
    )
    assert not fleet.passing(board.complaint("No space left on device"))


def test_each_board_learns_from_its_own_data(
    boards: list[str], servers: list[sshd.Server], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sys.path.insert(0, str(FIXTURES.parent / "personalize"))
    try:
        import new_sounds
    finally:
        sys.path.pop(0)

    other, buzz = new_sounds.write(tmp_path / "sounds", each=8)
    bundle = shutil.copytree(FIXTURES / "chirps", tmp_path / "chirps")
    file = tmp_path / "boards.txt"
    file.write_text(f"{boards[0]} data={other}\n{boards[1]} data={buzz}\n{boards[2]} data={tmp_path / 'nowhere'}\n")
    code = main(["personalize", str(bundle), "--devices", str(file), "--json"])
    first, second, third = json.loads(capfd.readouterr().out)["results"]
    assert code == 3 and third["error"] == "DataError", (code, third)
    assert {result["device"] for result in (first, second)} == set(boards[:2])
    assert "buzz" in second["new"]["per_class"] and "buzz" not in first["new"]["per_class"]
    assert not (bundle / "personalize" / "state.npz").exists() and not (bundle / "state.npz").exists()
    assert list(servers[1].root.rglob("state.npz")) and not list(servers[2].root.rglob("state.npz"))
