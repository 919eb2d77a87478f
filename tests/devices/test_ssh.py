"""Boards over ssh, against a real sshd on loopback: what works, and every way in which it does not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import burning
import pytest
import sshd
import tiny_bundle

import edgeft
from edgeft.cli.entry import run as main
from edgeft.core.errors import InvalidInput, Missing, SystemFailure, UsageError
from edgeft.devices import known, setup
from edgeft.devices.device import LEASH
from edgeft.devices.link import Link
from edgeft.devices.registry import get
from edgeft.devices.ssh import Ssh
from edgeft.measure import pairs


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    folder = tmp_path_factory.mktemp("sshd")
    with sshd.serving(folder / "server", folder / "board") as made:
        yield made


@pytest.fixture(autouse=True)
def own_settings(server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in server.environ.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    server.configure()
    server.trust()


@pytest.fixture
def board(server: sshd.Server) -> str:
    """The address of a board that was set up with this interpreter."""
    setup.setup(server.url, python=sshd.PYTHON)
    return server.url


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.build(tmp_path)


def test_setup_check_and_list(server: sshd.Server, capfd: pytest.CaptureFixture[str]):
    assert main(["device", "setup", server.url, "--python", sshd.PYTHON]) == 0
    assert "runtimes" in capfd.readouterr().out
    assert main(["device", "check", server.url, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["runtimes"] and found["fingerprint"]["isa"] and found["name"] == server.url
    assert main(["device", "list"]) == 0
    assert server.url in capfd.readouterr().out
    assert main(["device"]) == 0


def test_verify_bench_and_the_bundle_is_carried_once(
    board: str, bundle: Path, server: sshd.Server, capfd: pytest.CaptureFixture[str]
):
    report = edgeft.verify(bundle, device=board)
    assert report["device"] == board
    assert {gate["name"] for gate in report["gates"]} >= {"parity", "integer", "latency"}
    kept = [path for path in (server.root / "bundles").iterdir() if path.is_dir()]
    assert len(kept) == 1 and (kept[0] / "model.tflite").read_bytes() == (bundle / "model.tflite").read_bytes()
    before = kept[0].stat().st_mtime_ns

    alone = edgeft.bench(bundle, device=board, seconds=0.2)
    assert alone["where"] == "device" and alone["p50_ms"] > 0 and alone["verdict"] == "advisory"
    assert kept[0].stat().st_mtime_ns == before
    assert not list((server.root / "bundles").glob(".*")), "nothing half-sent stays"

    # two devices at once: one of them is not there
    code = main(["bench", str(bundle), "--device", board, "--device", "ssh://nobody@127.0.0.1:9", "--seconds", "0.2"])
    told = capfd.readouterr().out
    assert code == 4 and "error" in told and "advisory" in told


def test_a_slowdown_is_found_on_a_board(board: str, tmp_path: Path):
    once, thrice = burning.build(tmp_path / "once", 2), burning.build(tmp_path / "thrice", 6)
    result = edgeft.bench(thrice, once, device=board, baselines=tmp_path / "kept", seconds=20)
    assert result["verdict"] == "fail" and result["device"] == board and result["old_p50_ms"] < result["p50_ms"]


@pytest.mark.slow
def test_a_connection_that_breaks_is_made_again(
    board: str, bundle: Path, server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    broken: list[int] = []

    def cut_once(*given: Any, whole: Any = pairs._round) -> Any:
        if not broken:
            broken.append(server.hang_up())
        return whole(*given)

    monkeypatch.setattr(pairs, "_round", cut_once)
    said: list[str] = []
    result = edgeft.bench(bundle, bundle, device=board, baselines=tmp_path, seconds=10, tolerance=50, say=said.append)
    assert broken and broken[0] >= 1
    assert any("connecting again" in line for line in said), said
    assert any("the connection broke" in note for note in result["notes"])
    assert result["verdict"] in ("pass", "inconclusive")


@pytest.mark.slow
def test_a_connection_that_breaks_before_or_after_the_comparison_is_made_again(
    board: str, bundle: Path, server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cuts: list[str] = []

    def cut(self: Link, do: str, *, whole: Any = Link.ask, **words: Any) -> Any:
        if do in ("who", "single") and do not in cuts:
            cuts.append(do)
            server.hang_up()
        return whole(self, do, **words)

    monkeypatch.setattr(Link, "ask", cut)
    result = edgeft.bench(bundle, bundle, device=board, baselines=tmp_path, seconds=10, tolerance=50)
    assert cuts == ["who", "single"]
    assert result["verdict"] in ("pass", "inconclusive") and result["p50_ms"] > 0


def test_no_orphan_stays(board: str, bundle: Path, server: sshd.Server):
    from edgeft.devices.device import WORKER

    device = get(board)
    place = device.place(bundle)
    link = Link(device.argv(WORKER))
    pid = link.ask("open", bundle=place)["pid"]
    server.hang_up()
    # and work that reads nothing: a verification under way
    sleeper = subprocess.Popen(
        device.argv(LEASH + "import os, time; print(os.getpid(), flush=True); time.sleep(60)"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert sleeper.stdout is not None
    working = int(sleeper.stdout.readline())
    server.hang_up()
    until = time.monotonic() + 10
    while time.monotonic() < until and (_alive(pid) or _alive(working)):
        time.sleep(0.05)
    assert not _alive(pid) and not _alive(working)
    link.close()
    sleeper.kill()
    sleeper.communicate()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_keys_and_hosts_that_do_not_fit(board: str, bundle: Path, server: sshd.Server):
    server.configure("stranger_key")
    with pytest.raises(Missing, match="rejects all of your ssh keys"):
        edgeft.verify(bundle, device=board)
    server.configure()
    server.trust("other_host_key")
    with pytest.raises(InvalidInput, match="its host key is not the one in known_hosts"):
        edgeft.verify(bundle, device=board)
    (server.folder / "known_hosts").write_text("")
    with pytest.raises(InvalidInput, match="its host key is not in known_hosts"):
        edgeft.verify(bundle, device=board)
    server.trust()
    with pytest.raises(Missing, match="nothing answers at that port"):
        setup.setup("ssh://nobody@127.0.0.1:9", runtimes=["litert"])
    with pytest.raises(Missing, match="is not set up"):
        edgeft.verify(bundle, device="ssh://nobody@127.0.0.1:9")


def test_a_board_of_another_architecture_or_without_what_it_takes(server: sshd.Server):
    with pytest.raises(InvalidInput, match="and rpi4 is aarch64"):
        setup.setup(server.url, target="rpi4", python=sshd.PYTHON)
    with pytest.raises(Missing, match="no /no/such/python there"):
        setup.setup(server.url, python="/no/such/python")
    with pytest.raises(UsageError, match="which runtime"):
        setup.setup(server.url)
    with pytest.raises(UsageError, match="is not a runtime"):
        setup.setup(server.url, runtimes=["litter"])
    assert known.every() == [], "a board that is not ready is not listed"


def test_addresses():
    good = Ssh.parse("ssh://pi@rpi5.local:2222/opt/edgeft")
    assert (good.user, good.host, good.port, good.root) == ("pi", "rpi5.local", 2222, "/opt/edgeft")
    assert Ssh.parse("ssh://rpi5").root == ".edgeft" and Ssh.parse("ssh://[fe80::1]").host == "fe80::1"
    for bad in ("ssh://-oProxyCommand=x", "ssh://a@-b", "ssh://host:0", "ssh://host:99999", "ssh://a b", "ssh://",
                "ssh://host/../x", "ssh://host;reboot", "ssh://$(reboot)", "http://host"):  # fmt: skip
        with pytest.raises(UsageError):
            get(bad)
    words = Ssh.parse("ssh://host/a b").ssh("echo hello")
    assert words[-2] == "host" and "'/a b'" in words[-1].replace("'\"'\"'", "'")


def test_a_full_disk_is_told_and_leaves_nothing(server: sshd.Server, tmp_path: Path):
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(small)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a small disk cannot be mounted here")
    try:
        url = f"ssh://{server.url.split('://')[1].split('/')[0]}{small}"
        setup.setup(url, python=sshd.PYTHON)
        (small / "filled").write_bytes(bytes(6 << 20))
        with pytest.raises(SystemFailure, match=r"the disk is nearly full: \d MB are free, and 8 MB are needed"):
            setup.setup(url, python=sshd.PYTHON)
        (small / "filled").unlink()
        data = tmp_path / "data"
        data.mkdir()
        (data / "much.bin").write_bytes(os.urandom(32 << 20))
        with pytest.raises(SystemFailure, match="the disk is full"):
            get(url).carry(data)
        assert not list((small / "data").glob(".*"))
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


@pytest.mark.slow
def test_an_environment_is_made_on_the_board(server: sshd.Server, bundle: Path, tmp_path: Path):
    if not shutil.which("python3"):
        pytest.skip("no python3 on the path")
    url = f"ssh://{server.url.split('://')[1].split('/')[0]}{tmp_path / 'fresh'}"
    found = setup.setup(url, runtimes=["litert"])
    assert "litert" in found["runtimes"] and found["python"] == "venv/bin/python"
    assert edgeft.verify(bundle, device=url)["device"] == url
