"""No telemetry: commands and imports leave nothing of other packages in an empty home, and connect to nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle

CONSOLE = "import sys; from edgeft.cli import main; main()"
#: modules that load, or may load, a runtime, a converter or a hub client
IMPORTS = ("edgeft.export.run", "edgeft.tune", "edgeft.models.transformers", "transformers", "onnxscript")


def traced(code: str, *words: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code with nothing but a home in its environment; where strace is there, no address is asked."""
    command = [sys.executable, "-c", code, *words]
    trace = home.with_suffix(".trace")
    if strace := shutil.which("strace"):
        command = [strace, "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace), *command]
    done = subprocess.run(
        command, cwd=home.parent, env={"HOME": str(home), "PATH": ""}, capture_output=True, text=True, timeout=300
    )
    if trace.exists():
        assert not re.findall(r".*AF_INET.*", trace.read_text())
    return done


def left(home: Path) -> list[str]:
    """The files in the home that edgeft does not own."""
    names = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    return sorted(name for name in names if "/edgeft/" not in f"/{name}")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize(
    "backend", [pytest.param(b, marks=pytest.mark.slow) if b == "litert" else b for b in tiny_bundle.BACKENDS]
)
def test_commands_leave_nothing_behind(tmp_path: Path, home: Path, backend: str) -> None:
    path = tiny_bundle.build(tmp_path, backend)
    np.save(tmp_path / "bright.npy", tiny_bundle.pixels(240))
    for words, allowed in (
        (("predict", str(path), str(tmp_path / "bright.npy")), (0,)),
        (("verify", str(path)), (0, 1, 5)),  # a tiny net has no speed to gain
        (("bench", str(path)), (0,)),
        (("doctor",), (0,)),
    ):
        done = traced(CONSOLE, *words, home=home)
        assert done.returncode in allowed, done.stderr
        assert left(home) == [], words


def test_imports_leave_nothing_behind(home: Path) -> None:
    for name in ("torch", "accelerate", "transformers", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    done = traced(f"import edgeft, {', '.join(IMPORTS)}, onnxruntime", home=home)
    assert done.returncode == 0, done.stderr
    assert left(home) == []


def test_huggingface_is_told(home: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    code = "import edgeft; from huggingface_hub import constants; assert constants.HF_HUB_DISABLE_TELEMETRY"
    assert traced(code, home=home).returncode == 0
