from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeft.bundle import reader as bundles
from edgeft.core.errors import BundleError, SystemFailure, UsageError
from edgeft.personalize import plan as plans
from edgeft.personalize import state as states

pytestmark = pytest.mark.board


@pytest.fixture
def opened(chirps: Path) -> tuple[Any, Any]:
    bundle = bundles.open(chirps)
    return bundle, plans.of(bundle)


def version(plan: Any, number: int, fill: float = 1.0) -> states.Version:
    values = [np.full(p.shape, fill * number, np.float32) for p in plan.parameters]
    return states.Version(number, values, ("new",), {"note": number})


def test_what_is_written_is_read_again(opened: tuple[Any, Any], tmp_path: Path) -> None:
    bundle, plan = opened
    path = tmp_path / "s.npz"
    assert states.read(path, bundle, plan).last is None
    states.write(states.State(path, tuple(version(plan, n) for n in range(1, 9))), bundle)
    found = states.read(path, bundle, plan)
    assert [v.number for v in found.versions] == [4, 5, 6, 7, 8]  # the last few are kept
    assert found.last is not None and found.last.labels == ("new",) and found.last.told == {"note": 8}
    assert all((value == 8).all() for value in found.last.parameters)
    assert states.rolled_back(found).last.number == 7  # type: ignore[union-attr]
    assert states.next_number(found) == 9


def test_nothing_to_roll_back(opened: tuple[Any, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no personalized state"):
        states.rolled_back(states.State(tmp_path / "s.npz"))


def test_every_cut_and_every_flipped_byte_is_refused_or_harmless(opened: tuple[Any, Any], tmp_path: Path) -> None:
    bundle, plan = opened
    path = tmp_path / "s.npz"
    states.write(states.State(path, (version(plan, 1), version(plan, 2))), bundle)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    wanted = states.read(path, bundle, plan)
    for size in rng.integers(0, len(whole), 40):
        path.write_bytes(whole[:size])
        with pytest.raises(BundleError):
            states.read(path, bundle, plan)
    for at in rng.integers(0, len(whole), 200):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            found = states.read(path, bundle, plan)
        except BundleError as error:
            assert str(path) in error.where and error.remedy
            continue
        for ours, theirs in zip(found.versions, wanted.versions):  # a byte that means nothing, such as a date
            assert all(np.array_equal(a, b) for a, b in zip(ours.parameters, theirs.parameters))


def test_the_state_of_another_bundle_is_refused(opened: tuple[Any, Any], tmp_path: Path) -> None:
    bundle, plan = opened
    path = tmp_path / "s.npz"
    states.write(states.State(path, (version(plan, 1),)), bundle)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    journal = json.loads(bytes(arrays["journal"]))
    for change, words in (
        ({"bundle": "0" * 64}, "another bundle"),
        ({"schema": 99}, "schema"),
        ({"versions": [{"version": 1}]}, "journal"),
    ):
        text = json.dumps({**journal, **change}).encode()
        with io.BytesIO() as buffer:
            np.savez(buffer, **{**arrays, "journal": np.frombuffer(text, np.uint8)})
            path.write_bytes(buffer.getvalue())
        with pytest.raises(BundleError, match=words):
            states.read(path, bundle, plan)


def test_parameters_that_are_not_finite_are_refused(opened: tuple[Any, Any], tmp_path: Path) -> None:
    bundle, plan = opened
    states.write(states.State(tmp_path / "s.npz", (version(plan, 1, float("nan")),)), bundle)
    with pytest.raises(BundleError, match="finite"):
        states.read(tmp_path / "s.npz", bundle, plan)


def test_two_writers_at_once(opened: tuple[Any, Any], tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom edgeft.personalize.state import writing\n"
        "with writing(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline().strip() == "held"
        with pytest.raises(UsageError, match="another process"), states.writing(path):
            pass
    finally:
        other.kill()
        other.communicate()
    (tmp_path / ".s.npz.abcd.tmp").write_text("left by a process that was killed")
    with states.writing(path):  # the lock goes with its owner
        assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.glob(".s.npz.*.tmp"))


def test_a_full_disk_leaves_the_old_state(
    opened: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, plan = opened
    path = tmp_path / "s.npz"
    states.write(states.State(path, (version(plan, 1),)), bundle)
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SystemFailure, match="No space"):
        states.write(states.State(path, (version(plan, 1), version(plan, 2))), bundle)
    monkeypatch.undo()
    assert path.read_bytes() == before and os.listdir(tmp_path).count("s.npz") == 1


#: forks a learner whenever it is told to, so that a hundred of them start in no time
_ZYGOTE = """
import os, sys
from pathlib import Path
import numpy as np
from edgeft.bundle import reader as bundle
from edgeft.personalize import run
try:
    import ai_edge_litert.interpreter
except ImportError:
    import tflite_runtime.interpreter
folder, data = sys.argv[1:]
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            run.run(bundle.open(folder), data, seed=int(line), steps=20)
        finally:
            os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("done", flush=True)
"""


@pytest.mark.parametrize("moments", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_any_moment_the_state_is_the_old_or_the_new_one(
    opened: tuple[Any, Any], heard: tuple[Path, Path], tmp_path: Path, moments: int
) -> None:
    bundle, plan = opened
    small = tmp_path / "few"
    for label in ("fall", "rise", "tone"):
        (small / label).mkdir(parents=True)
        for i in range(12):
            shutil.copy(heard[0] / label / f"{i}.wav", small / label)
    zygote = subprocess.Popen(
        [sys.executable, "-c", _ZYGOTE, str(bundle.path), str(small)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    path, rng = bundle.path / states.FILE, np.random.default_rng(3)
    assert zygote.stdin is not None and zygote.stdout is not None
    took: list[float] = []  # what learners needed that nobody killed
    versions, killed, number, known = set(), 0, 0, {0: b""}
    try:
        while killed < moments:
            number += 1
            assert number < 4 * moments
            spared, begun = True, time.monotonic()
            zygote.stdin.write(f"{number}\n")
            zygote.stdin.flush()
            child = int(zygote.stdout.readline())
            if took:
                # somewhat beyond what one needs, so that some come through on a busy machine too
                time.sleep(rng.uniform(0, 1.5 * float(np.median(took[-5:]))))
                try:
                    os.kill(child, signal.SIGKILL)
                    killed, spared = killed + 1, False
                except ProcessLookupError:
                    pass
            assert zygote.stdout.readline().strip() == "done"
            if spared:
                took.append(time.monotonic() - begun)
            state = states.read(path, bundle, plan)  # raises where it is not whole
            last = state.last.number if state.last else 0
            assert last in (max(known), max(known) + 1)
            if last == max(known) and last:
                assert path.read_bytes() == known[last]
            known[last] = path.read_bytes() if path.exists() else b""
            versions.add(last)
    finally:
        zygote.kill()
        zygote.communicate()
    assert len(versions) > 1  # some came through, some did not
    with states.writing(path):
        pass
    assert not list(bundle.path.glob(f".{states.FILE}.*.tmp"))
