"""What an installed wheel holds: the boards, the calibration presets, the embedded recipe, the command."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edgeft

CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from the source distribution, so that both are known to be whole."""
    pytest.importorskip("hatchling", reason="pip install 'edgeft[dev]'")
    pytest.importorskip("build", reason="pip install 'edgeft[dev]'")
    if not (CHECKOUT / "pyproject.toml").is_file():
        pytest.skip("no checkout to build from")
    out = tmp_path_factory.mktemp("dist")
    argv = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(CHECKOUT)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("edgeft-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(argv, check=True, timeout=300, capture_output=True)
    return folder


def test_the_wheel_holds_the_data_and_nothing_of_the_checkout(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for kind in ("targets", "calibration"):
        ours = {path.name for path in (CHECKOUT / kind).glob("*.toml")}
        assert ours
        assert {name.rpartition("/")[2] for name in names if f"_shipped/{kind}/" in name} == ours
    for name in (
        "edgeft/config/embedded.toml",
        "edgeft/tasks/classify/template.toml",
        "edgeft/core/runner.py",
        "edgeft/py.typed",
    ):
        assert name in names
    assert {f"edgeft/schemas/{kind}.json" for kind in ("manifest", "report", "bench", "summary")} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/", "scripts/"))]
    modules = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "edgeft").rglob("*.py")}
    assert modules <= names


def test_name_version_license_and_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = f"edgeft-{edgeft.__version__}.dist-info"
    metadata = archive.read(f"{info}/METADATA").decode()
    assert f"Version: {edgeft.__version__}\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    assert f"{info}/licenses/LICENSE" in archive.namelist()
    for extra in (
        "tune",
        "onnx",
        "openvino",
        "litert",
        "executorch",
        "tensorflow",
        "tflite-runtime",
        "vision",
        "dev",
        "all",
    ):
        assert f"Provides-Extra: {extra}\n" in metadata
    scripts = configparser.ConfigParser()
    scripts.read_string(archive.read(f"{info}/entry_points.txt").decode())
    assert scripts["console_scripts"]["edgeft"] == "edgeft.cli:main"


def test_an_installed_edgeft_finds_its_boards_presets_and_recipe(installed: Path, tmp_path: Path) -> None:
    script = """
import json, edgeft
from edgeft.config import calibration, shipped, starting_recipes, target
from edgeft.cli.entry import run
print(json.dumps({
    "file": edgeft.__file__,
    "targets": target.names(),
    "jetson": target.load("jetson").name,
    "presets": sorted(shipped.files("calibration")),
    "recipe": starting_recipes.embedded().name,
    "preset": calibration.load(starting_recipes.embedded().quantize.calibration) is not None,
    "template": starting_recipes.template("classify")[:1],
}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "XDG_CONFIG_HOME": str(tmp_path), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["file"]).is_relative_to(installed)
    assert found["targets"] == sorted(path.stem for path in (CHECKOUT / "targets").glob("*.toml"))
    assert found["jetson"] == "jetson-orin-nano"
    assert found["presets"] == sorted(path.stem for path in (CHECKOUT / "calibration").glob("*.toml"))
    assert found["recipe"] == "digits" and found["preset"]


def test_the_installed_command_runs(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeft", "targets", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "XDG_CONFIG_HOME": str(tmp_path), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["targets"]) == len(list((CHECKOUT / "targets").glob("*.toml")))
