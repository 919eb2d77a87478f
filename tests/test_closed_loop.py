"""examples/control/closed_loop.py: a bundle holds the stick in gymnasium, float and int8 on the same episodes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "control" / "closed_loop.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("closed_loop", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_answers_become_actions_of_either_kind_of_space(example: ModuleType) -> None:
    pushes = SimpleNamespace(n=2, start=0)
    assert [example.action(np.array([v]), pushes) for v in (-3.0, 0.2, 0.7, 9.0)] == [0, 0, 1, 1]
    wheel = SimpleNamespace(shape=(2,), low=np.float32([-1, 0]), high=np.float32([1, 1]), dtype=np.float32)
    turned = example.action(np.array([-4.0, 0.25]), wheel)
    assert turned.dtype == np.float32 and turned.tolist() == [-1.0, 0.25]


def test_without_gymnasium_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys, runpy; sys.modules['gymnasium'] = None; sys.argv = ['x', 'nowhere']; "
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 4 and "pip install gymnasium" in done.stderr and "Traceback" not in done.stderr


def test_a_pole_is_kept_upright_by_float_and_int8(tmp_path: Path) -> None:
    """The teacher leans against the fall; the policy has seen its answers to states, and no episode."""
    for package in ("gymnasium", "torch", "litert_torch"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    import edgeft

    rng = np.random.default_rng(0)
    seen = rng.normal(size=(2000, 4)).astype(np.float32) * np.float32([0.5, 0.5, 0.1, 0.5])
    pushed = (seen @ [0.05, 0.15, 1.0, 0.4] > 0).astype(np.float32)
    np.savez(tmp_path / "rollouts.npz", obs=seen, acts=pushed, indices=np.arange(50, 2000, 50))
    recipe = {
        "task": "control",
        "name": "pole",
        "model": {"source": "builtin", "name": "mlp", "args": {"hidden": [32]}},
        "data": {"format": "trajectories", "path": str(tmp_path / "rollouts.npz")},
        "train": {"epochs": 12, "lr": 1e-2, "batch_size": 64},
        "quantize": {"method": "ptq"},
        "export": {"targets": ["host-litert"]},
        "gates": {"min_speedup": 0, "min_int8_share": 0, "max_drop_relative": 0.5},
    }
    edgeft.tune(recipe, tmp_path / "run")
    (report,) = edgeft.export(tmp_path / "run", out=tmp_path / "bundles")
    argv = [sys.executable, str(EXAMPLE), report["path"], "--episodes", "5", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["kept"] and found["int8"]["return"] > 200 < found["float"]["return"], "a random policy earns 22"
    assert found["int8"]["step_p99_ms"] > 0 and len(found["drop_ci95"]) == 2
