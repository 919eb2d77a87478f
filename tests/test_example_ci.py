"""The project of examples/ci as its README says, in a folder of its own: its test passes on an unchanged bundle and
fails on one with a block twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "ci"


def told(folder: Path, *command: str, **variables: str) -> str:
    """What a command of this environment prints there."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path, **variables}, capture_output=True, text=True
    )
    return f"exit {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
def test_the_example_passes_unchanged_and_fails_with_a_block_twice(tmp_path: Path):
    for package in ("onnxruntime", "onnxscript", "torch"):
        pytest.importorskip(package)
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "ci"))
    assert told(folder, "python", "prepare.py").startswith("exit 0")
    assert told(folder, "edgeft", "bench", "bundles/host", "--accept").startswith("exit 0")

    unchanged = told(folder, "pytest", "-rs", "-p", "no:cacheprovider")
    assert unchanged.startswith("exit 0"), unchanged
    assert "1 passed" in unchanged or "1 skipped" in unchanged, unchanged  # a busy machine may not be able to tell

    slower = [told(folder, "pytest", "-rs", "-p", "no:cacheprovider", BUNDLE="slower/host") for _ in range(2)]
    assert not any("passed" in text for text in slower), slower
    assert any(text.startswith("exit 1") and "slower than the tolerance" in text.lower() for text in slower), slower

    gates = told(folder, "pytest", "-p", "no:cacheprovider", "--edgeft-bundle", "bundles/host", "-k", "not latency")
    assert gates.startswith("exit 0") and "passed" in gates, gates
