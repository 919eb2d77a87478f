"""Ctrl-C or SIGTERM in the middle of a command: one clear error, nothing half-written, and a run to resume."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_bundle
from commands import Answer, ask, finish, here, left, start, write_recipe  # noqa: F401 (`here` is a fixture)
from shapes_run import HOST


def interrupt(process: subprocess.Popen[str], when: Callable[[], bool], number: int = signal.SIGINT) -> Answer:
    deadline = time.monotonic() + 240
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    process.send_signal(number)
    return finish(process)


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_tune_and_on_with_the_same_result(small):
    import torch
    from safetensors.torch import load_file

    write_recipe(small, train={"epochs": 6}, quantize={"epochs": 2}, export={"targets": ["host"]})
    answer = interrupt(start("tune", "in.toml", "--out", "run"), Path("run/checkpoints/float.pt").exists)
    assert answer.code == 130 and answer.found["remedy"] == "edgeft tune --resume run"
    assert not [name for name in left() if "tmp" in name] and "run/summary.json" not in left()
    answer = ask("export", "run", "--target", "host", "--out", "bundles")
    assert answer.code == 3 and answer.found["remedy"] == "edgeft tune --resume run" and not Path("bundles").exists()
    process = start("tune", "--resume", "run")
    answer = interrupt(process, Path(f"run/checkpoints/{HOST}.pt").exists, signal.SIGTERM)
    assert answer.code == 143 and answer.found["message"] == "terminated"
    assert answer.found["remedy"] == "edgeft tune --resume run"
    resumed = ask("tune", "--resume", "run", error=False)
    assert resumed.code == 0 and "taken up after epoch" in resumed.err
    whole = ask("tune", "in.toml", "--out", "whole", error=False)
    assert whole.code == 0
    for name in ("float.safetensors", f"quantized.{HOST}.safetensors"):
        one, other = load_file(f"run/{name}"), load_file(f"whole/{name}")
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_ctrl_c_in_the_middle_of_export(shapes):
    process = start("export", shapes.run, "--target", "host", "--target", "host-litert", "--out", "bundles")
    answer = interrupt(process, lambda: any(Path("bundles").glob(".host*.tmp/*")))
    assert answer.code == 130
    assert not [name for name in left() if "tmp" in name]
    assert all(ask("verify", p, error=False).code == 0 for p in Path("bundles").glob("*"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_with_its_workers(number, code, monkeypatch):
    """Sent to the command alone, as a scheduler does: what runs the model in a process of its own ends with it."""
    tiny_bundle.usable("onnxruntime")
    monkeypatch.setenv("EDGEFT_TEST_MARK", mark := f"{number}-{os.getpid()}")
    answer = interrupt(
        start("verify", tiny_bundle.build(Path("in"), "onnxruntime")), lambda: len(marked(mark)) > 1, number
    )
    assert answer.code == code
    deadline = time.monotonic() + 5
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert marked(mark) == [] and left() == []


def marked(mark: str) -> list[str]:
    """The processes that have the mark in their environment."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc")
    processes = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"EDGEFT_TEST_MARK={mark}".encode() in (place / "environ").read_bytes():
                processes.append(place.name)
    return [name for name in processes if name != str(os.getpid())]
