"""Importing edgeft, and asking for help, loads nothing heavy. Asserted by what is loaded, never by a clock."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    *("torch", "torchvision", "timm", "onnx", "onnxruntime", "openvino", "tensorflow", "litert_torch"),
    *("ai_edge_litert", "tflite_runtime", "scipy", "sklearn", "matplotlib", "numpy", "PIL"),
)


def loaded(script: str) -> set[str]:
    """The top-level modules that are loaded after `script` ran in a fresh interpreter."""
    ending = "\nimport json, sys\nprint('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", script + ending], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.board
@pytest.mark.parametrize(
    "script",
    [
        "import edgeft",
        "import edgeft.cli",
        "import edgeft; edgeft.__version__; dir(edgeft)",
        *(
            f"from edgeft.cli.entry import run; assert run({argv!r}) == {code}"
            for argv, code in (
                (["--help"], 0),
                (["--version"], 0),
                (["tune", "--help"], 0),
                (["export", "--help"], 0),
                (["personalise"], 2),
            )
        ),
    ],
)
def test_nothing_heavy_is_loaded(script: str) -> None:
    assert not loaded(script) & set(HEAVY)


@pytest.mark.board
def test_the_boards_are_listed_without_a_runtime() -> None:
    script = "from edgeft.cli.entry import run; assert run(['targets', 'show', 'rpi5', '--json']) == 0"
    assert not loaded(script) & (set(HEAVY) - {"numpy"})
