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


@pytest.mark.board
def test_the_public_functions_are_callable_by_whichever_path_their_room_was_imported() -> None:
    script = """
import importlib, inspect, types
import edgeft.verify, edgeft.measure
from edgeft.measure import stats
import edgeft
for name in ("verify", "bench"):
    room = getattr(edgeft, name)
    assert callable(room) and isinstance(room, types.ModuleType), name
    assert "bundle" in inspect.signature(room).parameters
assert edgeft.measure.stats is stats
assert callable(edgeft.load)
try:
    edgeft.verify("no such folder")
except importlib.import_module("edgeft.core.errors").BundleError as error:
    assert error.exit_code == 3
else:
    raise AssertionError("a missing bundle was accepted")
try:
    edgeft.nonsense
except AttributeError:
    pass
else:
    raise AssertionError("an unknown name was accepted")
"""
    assert "torch" not in loaded(script)


def test_tune_and_export_are_callable() -> None:
    pytest.importorskip("torch")
    script = """
import inspect, edgeft
assert "recipe" in inspect.signature(edgeft.tune).parameters
assert "targets" in inspect.signature(edgeft.export).parameters
"""
    loaded(script)
