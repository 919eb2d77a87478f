"""Ctrl-C in the middle of a command: one clear error, nothing half-written, and a run that can be resumed."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from commands import Answer, ask, finish, here, left, start, write_recipe  # noqa: F401 (`here` is a fixture)
from shapes_run import HOST


def interrupt(process: subprocess.Popen[str], when: Callable[[], bool]) -> Answer:
    deadline = time.monotonic() + 240
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    return finish(process)


def test_ctrl_c_in_the_middle_of_tune_and_on_with_the_same_result(small):
    import torch
    from safetensors.torch import load_file

    write_recipe(small, train={"epochs": 12}, quantize={"epochs": 1}, export={"targets": ["host"]})
    answer = interrupt(start("tune", "in.toml", "--out", "run"), Path("run/checkpoints/float.pt").exists)
    assert answer.code == 130 and answer.found["remedy"] == "edgeft tune --resume run"
    assert not [name for name in left() if "tmp" in name] and "run/summary.json" not in left()
    answer = ask("export", "run", "--target", "host", "--out", "bundles")
    assert answer.code == 3 and answer.found["remedy"] == "edgeft tune --resume run" and not Path("bundles").exists()
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
