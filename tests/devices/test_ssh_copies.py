"""Copies on a board: they are those that were sent, nobody else reads them, and no name reaches its shell."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import sshd
import tiny_bundle

import edgeft
from edgeft.core.errors import EdgeftError, InvalidInput, UsageError
from edgeft.devices import setup
from edgeft.devices.registry import get
from edgeft.devices.ssh import Ssh


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    folder = tmp_path_factory.mktemp("copies")
    with sshd.serving(folder / "server", folder / "board") as made:
        yield made


@pytest.fixture(autouse=True)
def own_settings(server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in server.environ.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def board(server: sshd.Server) -> Ssh:
    setup.setup(server.url, python=sshd.PYTHON)
    return Ssh.known(server.url)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.build(tmp_path)


def test_an_altered_copy_is_sent_again_and_what_was_learned_stays(
    board: Ssh, server: sshd.Server, bundle: Path
) -> None:
    copy = server.root / board.place(bundle)
    (copy / "state.npz").write_bytes(b"learned on the device")
    name = next(iter(json.loads((bundle / "manifest.json").read_text())["files"]))
    whole, listing = (copy / name).read_bytes(), copy.with_name(f"{copy.name}.sums")

    for alter in (lambda: (copy / name).write_bytes(b"another model"), (copy / name).unlink, listing.unlink):
        alter()
        assert server.root / board.place(bundle) == copy
        assert (copy / name).read_bytes() == whole and listing.is_file()
        assert (copy / "state.npz").read_bytes() == b"learned on the device"

    (copy / name).write_bytes(b"another model")
    forged = listing.read_text().splitlines()
    listing.write_text("".join(f"{line}\n" for line in forged if not line.endswith(name)))
    board.place(bundle)
    assert (copy / name).read_bytes() == whole, "a list that leaves the file out is another list"

    before = (copy / name).stat().st_mtime_ns
    board.place(bundle)
    assert (copy / name).stat().st_mtime_ns == before, "what is the same is not sent"


def test_an_altered_edgeft_on_the_board_is_sent_again(board: Ssh, server: sshd.Server) -> None:
    version = server.root / board.lib / "edgeft" / "_version.py"
    text = version.read_bytes()
    version.write_bytes(b"raise SystemExit('not the one that was sent')")
    again = Ssh.known(server.url)
    assert again.lib == board.lib and version.read_bytes() == text


def test_a_copy_is_that_of_its_user(board: Ssh, server: sshd.Server, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "patient.txt").write_text("private")
    (tmp_path / "clips" / "patient.txt").chmod(0o666)
    for state in (server.root / "bundles").glob("*/state.npz"):  # another test's
        state.unlink()
    for copy in (board.place(bundle), board.carry(tmp_path / "clips"), board.lib):
        place = server.root / copy
        for path in (place.parent, place, place.with_name(f"{place.name}.sums"), *place.rglob("*")):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


NAMES = ["it's", 'a "quoted" one', "$(touch MARK)", "`touch MARK`", "; touch MARK #", "-rf", "ä b", "& touch MARK &"]


@pytest.mark.parametrize("name", ["-rf", 'it\'s "a" $(touch MARK) `touch MARK` ; touch MARK & # ä'])
def test_names_of_folders_reach_no_shell(name: str, server: sshd.Server, bundle: Path, tmp_path: Path) -> None:
    name = name.replace("MARK", "injected")
    url = f"{server.url}/{name}"
    setup.setup(url, python=sshd.PYTHON)
    report = edgeft.verify(bundle, device=url)
    assert report["device"] == url and report["gates"] and (server.root / name / "bundles").is_dir()
    assert not list(server.root.rglob("injected")) and not Path("injected").exists()
    assert not (Path.home() / "injected").exists()


def test_names_of_data_reach_no_shell(board: Ssh, server: sshd.Server, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    names = [name.replace("MARK", "injected") for name in NAMES if "/" not in name]
    for name in names:
        (data / name).write_text(name)
    copy = server.root / board.carry(data)
    assert {path.name: path.read_text() for path in copy.iterdir()} == {name: name for name in names}
    assert not list(server.root.rglob("injected"))

    (data / "two\nlines").write_text("x")
    with pytest.raises(InvalidInput, match="line break"):
        board.carry(data)


@pytest.mark.parametrize("python", ["$(touch injected)", "python3; touch injected", "'", "-c 1"])
def test_the_name_of_an_interpreter_reaches_no_shell(python: str, server: sshd.Server) -> None:
    with pytest.raises(EdgeftError):
        setup.setup(server.url, python=python)
    assert not list(server.root.rglob("injected")) and not (Path.home() / "injected").exists()


@pytest.mark.parametrize("user", ["-oProxyCommand=touch injected", "a b", "$(id)", "a;b", "a\nb", "'"])
def test_users_and_hosts_of_other_letters_are_refused(user: str) -> None:
    for url in (f"ssh://{user}@127.0.0.1", f"ssh://{user}"):
        with pytest.raises(UsageError):
            get(url)
