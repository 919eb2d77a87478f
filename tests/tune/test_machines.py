"""`torchrun` on two machines: two network namespaces that a pair of virtual cables joins.

Each has a folder of its own. Needs root and the command `ip`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import tune_data
from safetensors.torch import load_file
from shapes_run import HOST

from edgeft.config import recipe

pytestmark = pytest.mark.slow
MASTER, PORT = "10.213.77.1", "29533"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Machines:
    """Two machines: the namespaces, and below `root` the folder that each of them works in."""

    def __init__(self, root: Path, tag: str) -> None:
        self.names = [f"edgeft-{tag}-{number}" for number in (0, 1)]
        self.cables = [f"e{tag}-{number}" for number in (0, 1)]
        self.folders = [root / "first", root / "second"]

    def connect(self) -> None:
        for name in self.names:
            ip("netns", "add", name)
        ip("link", "add", self.cables[0], "type", "veth", "peer", "name", self.cables[1])
        for number, (name, cable) in enumerate(zip(self.names, self.cables), start=1):
            ip("link", "set", cable, "netns", name)
            ip("-n", name, "addr", "add", f"10.213.77.{number}/24", "dev", cable)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", cable, "up")

    def disconnect(self) -> None:
        for name in self.names:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)

    def start(self, *words: str) -> list[subprocess.Popen[str]]:
        """`edgeft tune WORDS` under torchrun, a process on each machine."""
        return [self._start(number, words) for number in (0, 1)]

    def _start(self, number: int, words: tuple[str, ...]) -> subprocess.Popen[str]:
        enter = ["ip", "netns", "exec", self.names[number], sys.executable, "-m", "torch.distributed.run"]
        nodes = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(number)]
        master = ["--master-addr", MASTER, "--master-port", PORT]
        return subprocess.Popen(
            [*enter, *nodes, *master, "-m", "edgeft", "tune", *words, "--json"],
            cwd=self.folders[number],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": self.cables[number]},
        )


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    pair = Machines(tmp_path, f"{os.getpid() % 10_000}")
    if shutil.which("ip") is None or os.geteuid():
        pytest.skip("two machines need root and the command ip (iproute2)")

    try:
        pair.connect()
    except subprocess.CalledProcessError as error:
        pair.disconnect()
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")

    try:
        yield pair
    finally:
        pair.disconnect()


def finished(processes: list[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    """What each printed on stdout and stderr."""
    try:
        return [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()


def write(folder: Path, epochs: int) -> None:
    folder.mkdir(exist_ok=True)
    tune_data.write(folder / "shapes.npz")
    settings = (f"train.epochs={epochs}", "train.batch_size=12", "quantize.epochs=1")
    (folder / "in.toml").write_text(recipe.dumps(tune_data.recipe_for(Path("shapes.npz"), *settings)))


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not until() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert until()


def test_two_machines_give_the_weights_of_two_processes_interrupted_or_not(machines: Machines, tmp_path: Path) -> None:
    for folder in (*machines.folders, tmp_path / "single"):
        write(folder, epochs=8)

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    single = subprocess.run(
        [*torchrun, "-m", "edgeft", "tune", "in.toml", "--out", "run", "--json"],
        cwd=tmp_path / "single",
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert single.returncode == 0, single.stderr[-3000:]
    summary = json.loads(single.stdout)  # one object: the second process prints nothing
    assert summary["steps"] == 8 * 4 + 4, "48 samples, the batch of 12 shared by both"

    # ctrl-C on the first machine ends both, and the second one says why
    processes = machines.start("in.toml", "--out", "run")
    wait((machines.folders[0] / "run/checkpoints/float.pt").exists)
    processes[0].send_signal(signal.SIGINT)
    (_, first), (second_out, second) = finished(processes)
    assert all(process.returncode for process in processes)
    assert "edgeft tune --resume run" in first, first[-3000:]
    assert "internal error" not in second, second[-3000:]
    broken = json.loads(second_out)
    assert broken["error"] == "RunError" and "edgeft tune --resume run" in broken["remedy"], second[-3000:]
    assert not (machines.folders[0] / "run/summary.json").exists()
    assert not (machines.folders[1] / "run/checkpoints").exists(), "checkpoints are the first machine's"

    # each machine resumes in its folder, from the first one's checkpoint
    (first_out, first), (second_out, second) = finished(machines.start("--resume", "run"))
    assert "float: taken up after epoch" in first, first[-3000:]
    assert second_out == "" and json.loads(first_out)["steps"] == summary["steps"], second[-3000:]
    for name in ("float.safetensors", f"quantized.{HOST}.safetensors"):
        apart = load_file(machines.folders[0] / "run" / name)
        together = load_file(tmp_path / "single/run" / name)
        assert apart.keys() == together.keys()
        assert all(torch.equal(apart[key], together[key]) for key in apart), name
