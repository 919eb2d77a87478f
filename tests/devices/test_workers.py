from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_bundle

from edgeft.core.errors import BundleError, SystemFailure, UsageError
from edgeft.devices import arms, cores, heat
from edgeft.devices.link import HERE, Link


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.build(tmp_path)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pid: int, seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


def test_a_worker_measures_blocks_and_single_calls(bundle: Path):
    with Link() as link:
        told = link.ask("open", bundle=str(bundle), threads=1)
        assert told["fingerprint"]["runtime"]["name"] == "litert"
        warm = link.ask("warm", seconds=0.5)
        assert warm["run_ns"] > 0
        one, many = (link.ask("block", repeats=n, lead=1) for n in (100, 2000))
        assert 0 < one["wall"] < many["wall"]
        assert many["cpu"] > 0
        single = link.ask("single", seconds=0.1, fewest=8, most=2000)
        assert single["samples"] >= 8 and single["min_ms"] > 0
        assert set(link.ask("heat")) == {"celsius", "events", "now", "power_mode"}


def test_mistakes_are_answered_and_the_worker_lives_on(bundle: Path):
    with Link() as link:
        with pytest.raises(UsageError, match="before open"):
            link.ask("block", repeats=1)
        with pytest.raises(UsageError, match="cannot 'dance'"):
            link.ask("dance")
        with pytest.raises(BundleError, match="no such folder"):
            link.ask("open", bundle=str(bundle / "nowhere"))
        assert link.ask("open", bundle=str(bundle))["pid"] > 0


def test_a_worker_ends_with_its_link_and_with_its_parent(bundle: Path):
    with Link() as link:
        pid = link.ask("open", bundle=str(bundle))["pid"]
        assert alive(pid)
    assert gone(pid)

    script = (
        "import sys, time\nfrom edgeft.devices.link import Link\n"
        "link = Link()\nprint(link.ask('open', bundle=sys.argv[1])['pid'], flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(bundle)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    orphan = int(parent.stdout.readline())
    assert alive(orphan)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(orphan)


def test_a_worker_that_is_killed_or_hangs_or_talks_nonsense_is_told(bundle: Path):
    with Link(name="board") as link:
        os.kill(link.ask("open", bundle=str(bundle))["pid"], signal.SIGILL)
        with pytest.raises(BundleError, match="signal SIGILL"):
            link.ask("warm", seconds=0.1)
    for code, patience, told in (
        ("import time; time.sleep(60)", 0.3, "board: no answer for 0 s"),
        ("print('welcome to this board')", 20, "no answer of a worker: b'welcome"),
        ("raise SystemExit('no python here')", 20, "the worker ended: no python here"),
    ):
        with Link([sys.executable, "-c", code], name="board") as link, pytest.raises(SystemFailure, match=told):
            link.ask("heat", patience=patience)
    with pytest.raises(SystemFailure, match="could not start"):
        Link(["/no/such/program"])


@pytest.mark.parametrize(
    ("code", "reported"),
    [("print('welcome')", "no answer of a worker: b'welcome"), ("raise SystemExit('no python')", "ended: no python")],
)
def test_a_worker_that_ended_before_it_was_asked_is_reported_by_what_it_wrote(code: str, reported: str):
    with Link([sys.executable, "-c", code], name="board") as link:
        link._process.wait(60)
        with pytest.raises(SystemFailure, match=reported):
            link.ask("heat", patience=20)


def test_what_a_runtime_prints_is_no_answer(bundle: Path):
    noisy = "import os; from edgeft.devices import worker; old = worker.Worker.heat\n"
    noisy += "worker.Worker.heat = lambda self: (os.write(1, b'noise\\n'), old(self))[1]\nworker.main()"
    with Link([sys.executable, "-c", noisy]) as link:
        assert link.ask("heat")["celsius"] is not None


def test_both_sides_are_warm_and_on_the_same_core(bundle: Path):
    side = arms.Side(bundle, threads=1)
    with arms.opened(side, side, pin=1, warm_up=0.2) as (old, new):
        assert old.run_ns > 0 and new.run_ns > 0
        pids = [arm.link.ask("open", bundle=str(bundle), cores=None)["pid"] for arm in (old, new)]
        assert len(set(pids)) == 2
        if (os.cpu_count() or 1) > 1 and hasattr(os, "sched_getaffinity"):
            masks = [os.sched_getaffinity(pid) for pid in pids]
            assert masks[0] == masks[1] and len(masks[0]) == 1


def test_the_least_busy_core_is_taken(monkeypatch: pytest.MonkeyPatch):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system has no affinity")
    seen = iter([{0: 100, 1: 50, 2: 10, 3: 0}, {0: 101, 1: 90, 2: 60, 3: 3}])
    monkeypatch.setattr(cores, "_busy", lambda: next(seen))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    assert cores.quiet(2) == [0, 3]
    monkeypatch.setattr(cores, "_busy", lambda: {0: 1, 1: 2})
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert cores.quiet(2) is None  # all of them: nothing to choose


def test_heat_of_a_raspberry_pi_and_of_an_intel_board(tmp_path: Path):
    zone = tmp_path / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("61234\n")
    (zone / "type").write_text("cpu-thermal\n")
    none = heat.read(tmp_path, tmp_path / "none")
    assert none["celsius"] == {"cpu-thermal": 61.234}
    assert heat.throttled(none, none) is None, "a system that tells nothing is not called cool"

    word = tmp_path / "devices/platform/soc/soc:firmware/get_throttled"
    word.parent.mkdir(parents=True)
    word.write_text("0\n")
    cool = heat.read(tmp_path, tmp_path / "none")
    word.write_text("50005\n")
    hot = heat.read(tmp_path, tmp_path / "none")
    assert hot["now"] == ["under-voltage", "throttled"]
    assert heat.throttled(cool, cool) is False and heat.throttled(cool, hot) is True

    word.unlink()
    count = tmp_path / "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    count.parent.mkdir(parents=True)
    count.write_text("3")
    before = heat.read(tmp_path, tmp_path / "none")
    count.write_text("4")
    assert heat.throttled(before, heat.read(tmp_path, tmp_path / "none")) is True
    assert heat.throttled(before, before) is False


def test_the_command_of_a_worker_imports_nothing_heavy():
    code = HERE[HERE.index("-c") + 1].replace("main()", "")
    seen = subprocess.run(
        [sys.executable, "-c", code + "\nimport sys; print([m for m in ('torch', 'onnxruntime') if m in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "[]"
