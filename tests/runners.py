"""run.py of a bundle: loaded as a module, or called in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from edgeft.bundle import run_py as parts


def load(folder: Path, kind: str, task: str = "classify", backend: str = "litert") -> ModuleType:
    """run.py for a kind of input, a task and a runtime as a module."""
    path = folder / f"run_{kind}_{task}_{backend}.py"
    path.write_text(parts.text(backend, kind, task))
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(path: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    # -I: neither edgeft's checkout nor the user's packages, only what is installed
    command = [sys.executable, "-I", str(path / "run.py"), *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, encoding="utf-8", timeout=120, env={**os.environ, "PYTHONUTF8": "1"}
    )
