"""The board half of the command line loads numpy, click and one runtime, and nothing of the host."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle

HOST = {
    *("torch", "torchvision", "torchao", "litert_torch", "accelerate", "safetensors", "kornia", "onnx", "onnxscript"),
    *("scipy", "sklearn", "matplotlib", "pandas", "jax", "tensorflow"),
}
#: the rooms of edgeft that need torch
ROOMS = {"edgeft.tune", "edgeft.export", "edgeft.quantize", "edgeft.learning", "edgeft.models"}


def modules_after(*argv: object) -> set[str]:
    """Every module that is loaded once the command has run in a fresh interpreter."""
    script = (
        "import json, sys\n"
        "from edgeft.cli.entry import run\n"
        f"code = run({[str(word) for word in argv]!r})\n"
        "print('\\n' + json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    code, names = json.loads(done.stdout.splitlines()[-1])
    assert code in (0, 1), done.stdout + done.stderr
    return set(names)


@pytest.mark.board
@pytest.mark.parametrize("command", ["verify", "bench", "predict", "targets", "doctor"])
def test_a_board_command_loads_nothing_of_the_host(command: str, tmp_path: Path) -> None:
    argv: list[object] = [command]
    if command in ("verify", "bench", "predict"):
        argv.append(tiny_bundle.build(tmp_path))
    if command == "predict":
        np.save(tmp_path / "grey.npy", tiny_bundle.pixels(128))
        argv.append(tmp_path / "grey.npy")
    names = modules_after(*argv)
    assert not {name.partition(".")[0] for name in names} & HOST
    assert not names & ROOMS


@pytest.mark.board
def test_one_runtime_is_loaded_and_no_other(tmp_path: Path) -> None:
    names = modules_after("bench", tiny_bundle.build(tmp_path), "--seconds", "0.1")
    assert not names & {"onnxruntime", "openvino"}
