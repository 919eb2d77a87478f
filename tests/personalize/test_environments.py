"""A board's environment, made for the test: numpy, click, edgeft, one runtime. In it a bundle learns another voice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
RUNTIMES = {"host": "onnxruntime", "host-openvino": "openvino", "host-litert": "ai-edge-litert"}
#: what must not be there, beside the other two runtimes
HOST = ("torch", "onnx", "onnxscript", "tensorflow", "scipy", "PIL", "soundfile", "safetensors", "litert_torch")


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_bundle_learns_where_nothing_else_is_installed(voices: Any, tmp_path: Path, name: str) -> None:
    if not (ROOT / "constraints.txt").is_file():
        pytest.skip("no checkout with constraints.txt")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    packages = ["numpy", "click", RUNTIMES[name], str(ROOT)]
    pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", *packages]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    bundle = shutil.copytree(voices.bundle(name), tmp_path / "board")

    def edgeft(*argv: object) -> dict[str, Any]:
        call = [python, "-P", "-m", "edgeft", *map(str, argv), "--json"]
        done = subprocess.run(call, capture_output=True, text=True, timeout=300, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    found = edgeft("personalize", bundle, "--data", voices.other)
    assert (found["verdict"], found["version"]) == ("pass", 1)
    (seen,) = edgeft("predict", bundle, next(voices.other.rglob("*.wav")))["predictions"]
    assert seen["version"] == 1
    assert any(g["name"] == "personalize" for g in edgeft("verify", bundle)["gates"])
    code = f"import importlib.util as u; print([n for n in {HOST!r} if u.find_spec(n)])"
    listed = subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert listed.stdout.strip() == "[]", f"{listed.stdout} came with {RUNTIMES[name]} ({sys.version_info[:2]})"
