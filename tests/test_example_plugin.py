"""The example package of plug-ins, installed by pip: from `targets check` to a verified bundle and its run.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import shapes_run

EXAMPLE = Path(__file__).parent.parent / "examples" / "plugin"
COUNTS = {"train": 300, "val": 60, "test": 60}


@dataclass(frozen=True)
class Installed:
    """The folder that pip filled, a user's configuration with the example's target, and a recipe that names it."""

    folder: Path
    environment: dict[str, str]

    def edgeft(self, *argv: object) -> tuple[int, dict[str, Any], str]:
        """Exit code, the object on stdout and stderr of a command in a process of its own."""
        command = [sys.executable, "-m", "edgeft", *map(str, argv), "--json"]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=600
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    for package in ("torch", "accelerate", "safetensors", "onnx", "onnxscript", "hatchling", "pip"):
        pytest.importorskip(package, reason=f"the example needs {package}")
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(EXAMPLE, folder / "source")
    argv = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder / "site"), str(source)]
    subprocess.run([sys.executable, "-m", "pip", "install", *argv], check=True, timeout=300, capture_output=True)
    targets = folder / "config" / "edgeft" / "targets"
    shutil.copytree(EXAMPLE / "targets", targets)
    data = shapes_run.write_data(folder / "shapes.npz", counts=COUNTS)
    recipe = f'''
task = "classify"
name = "shapes"
[model]
name = "resnet8"
[data]
format = "npz"
path = "{data}"
[train]
epochs = 4
lr = 5e-3
batch_size = 30
augment = "none"
[quantize]
epochs = 1
calibration = "minmax"
[export]
targets = ["reference"]
[gates]
max_drop = 0.2
min_speedup = 0
min_int8_share = 0
'''
    (folder / "recipe.toml").write_text(recipe)
    checkout = str(Path(__file__).parent.parent)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), checkout]),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "OMP_NUM_THREADS": "1",
    }
    return Installed(folder, environment)


def test_doctor_runs_the_runtime(installed: Installed) -> None:
    _, found, _ = installed.edgeft("doctor")
    (answer,) = (runtime for runtime in found["runtimes"] if runtime["name"] == "reference")
    assert answer["loads"], answer


def test_without_the_package_the_target_is_refused_before_any_work(installed: Installed) -> None:
    alone = {**installed.environment, "PYTHONPATH": str(Path(__file__).parent.parent)}
    code, found, _ = Installed(installed.folder, alone).edgeft("targets", "check", "reference", "recipe.toml")
    assert code == 3 and "'backend' cannot be 'reference'" in found["message"]
    assert found["where"].endswith("reference.toml:3")


def test_from_the_check_of_the_target_to_a_verified_bundle_and_its_runner(installed: Installed) -> None:
    code, found, _ = installed.edgeft("targets", "check", "reference", "recipe.toml")
    assert code == 0 and not found["refused"]

    code, summary, _ = installed.edgeft("tune", "recipe.toml", "--out", "run")
    assert code == 0, summary
    code, report, err = installed.edgeft("export", "run", "--target", "reference", "--out", "bundles")
    assert code == 0, (report, err)
    bundle = installed.folder / "bundles" / "reference"
    report = json.loads((bundle / "report.json").read_text())
    verdicts = {gate["name"]: gate["verdict"] for gate in report["gates"] if gate["required"]}
    assert report["verdict"] == "pass" and report["backend"] == "reference", verdicts
    for gate in ("accuracy", "parity", "integer", "compatibility"):
        assert verdicts[gate] == "pass"

    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["backend"] == manifest["runtime"]["name"] == "reference"
    assert manifest["provenance"]["versions"]["edgeft-example"] == "0.1.0"
    code, again, _ = installed.edgeft("verify", "bundles/reference", "--data", "shapes.npz")
    assert code == 0, again

    # run.py needs the runtime and numpy alone: neither edgeft nor the package of the plug-in
    moved = shutil.move(bundle, installed.folder / "a board")
    done = subprocess.run(
        [sys.executable, "-I", str(Path(moved) / "run.py")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "decisions alike: ok" in done.stdout
    assert 'RUNTIME = "reference"' in (Path(moved) / "run.py").read_text()
