"""What an installed wheel holds: the boards, the calibration presets, the embedded recipe, the command."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

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
    out = tmp_path_factory.mktemp("dist")  # the source distribution lies beside it
    argv = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(CHECKOUT)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("edgeft-*.whl")
    return path


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, numpy and click, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    (site,) = folder.glob("lib/python*/site-packages")
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(argv, check=True, timeout=300, capture_output=True)
    for name in ("numpy", "numpy.libs", "click", "tomli"):
        spec = importlib.util.find_spec(name.partition(".")[0])
        source = Path(spec.origin).parent if spec and spec.origin else None
        if source is not None and source.with_name(name).is_dir():
            (site / name).symlink_to(source.with_name(name))
    return folder / "bin" / "python"


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
    tracked = {path for path in (CHECKOUT / "edgeft").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {path.relative_to(CHECKOUT).as_posix() for path in tracked} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_the_source_distribution_holds_what_builds_and_tests_it(wheel: Path) -> None:
    (path,) = wheel.parent.glob("edgeft-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    for name in (
        *("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "SECURITY.md", "constraints.txt", "PKG-INFO"),
        *("edgeft/_version.py", "edgeft/py.typed", "targets/rpi5.toml", "tests/test_packaging.py", "docs/index.md"),
        *("action.yml", "templates/gate.yml", ".pre-commit-hooks.yaml", "scripts/test"),
    ):
        assert name in names, name
    assert not [name for name in names if name.startswith((".venv", ".git/", "build/", "runs/", "bundles/"))]


def test_an_index_takes_both(wheel: Path) -> None:
    pytest.importorskip("twine", reason="pip install 'edgeft[dev]'")
    paths = [str(path) for path in sorted(wheel.parent.iterdir())]
    argv = [sys.executable, "-m", "twine", "check", "--strict", *paths]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.count("PASSED") == 2, done.stdout + done.stderr


def test_the_version_stands_in_one_place(wheel: Path) -> None:
    """Pages and examples that name the wheel name this one."""
    assert wheel.name == f"edgeft-{edgeft.__version__}-py3-none-any.whl"
    assert not re.search(r'^version = "', (CHECKOUT / "pyproject.toml").read_text(), re.M)
    pages = [CHECKOUT / "README.md", *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("examples/ci/*.yml")]
    for page in pages:
        named = re.findall(r"edgeft-(\d[\w.]*)-py3-none-any\.whl", page.read_text(encoding="utf-8"))
        assert set(named) <= {edgeft.__version__}, page


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["targets", "list"], "jetson-orin-nano"),
        (["doctor"], "onnxruntime"),
        (["--help"], "predict"),
        (["init", "classify"], "recipe.toml"),
    ],
)
def test_a_bare_environment_runs_it_from_an_empty_folder(
    bare: Path, tmp_path: Path, argv: list[str], sentence: str
) -> None:
    """Only numpy and click are there, so nothing heavy can have been imported."""
    done = subprocess.run(
        [str(bare), "-m", "edgeft", *argv],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={"PATH": "", "XDG_CONFIG_HOME": str(tmp_path / "config")},
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert sentence in done.stdout + done.stderr
    script = (
        str(bare.with_name("python")),
        "-c",
        "import edgeft, sys; print(edgeft.__version__, 'numpy' in sys.modules)",
    )
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, cwd=tmp_path, env={"PATH": ""})
    assert done.stdout == f"{edgeft.__version__} False\n"


def test_what_is_missing_in_a_bare_environment_is_named_with_its_command(bare: Path, tmp_path: Path) -> None:
    for argv, extra in ((["tune"], "[tune]"), (["serve", "."], "[serve]")):
        done = subprocess.run(
            [str(bare), "-m", "edgeft", *argv, "--json"],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env={"PATH": "", "XDG_CONFIG_HOME": str(tmp_path / "config")},
        )
        table = json.loads(done.stdout)
        assert done.returncode == 4 and extra in table["remedy"], table
        assert "pip install" in table["remedy"] and not list(tmp_path.glob("runs/*"))


def test_the_publishing_workflow_stores_no_token() -> None:
    yaml = pytest.importorskip("yaml", reason="pip install pyyaml")
    text = (CHECKOUT / ".github" / "workflows" / "publish.yml").read_text()
    table = yaml.safe_load(text)
    assert "secrets." not in text and "password" not in text
    assert table["permissions"] == {"contents": "read"}
    assert table["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert table["jobs"]["publish"]["needs"] == "build" and table["jobs"]["publish"]["environment"] == "pypi"
    tag = next(step for step in table["jobs"]["build"]["steps"] if "env" in step)
    for version, code in ((edgeft.__version__, 0), ("99.0", 1)):
        argv = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", tag["run"]]
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        done = subprocess.run(
            argv, cwd=CHECKOUT, env={"TAG": f"v{version}", "PATH": path}, timeout=60, capture_output=True
        )
        assert done.returncode == code, done.stdout


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


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.parametrize("name", ["uvx", "pipx"])
def test_the_wheel_runs_without_an_install(wheel: Path, tmp_path: Path, name: str) -> None:
    """From an empty folder, in an environment that the tool makes: no torch comes along, and a bundle is measured."""
    tool = _tool(name)
    bundle = shutil.copytree(CHECKOUT / "tests/fixtures/chirps", tmp_path / "chirps")
    if name == "uvx":
        start = [tool, "--python", sys.executable, "--from", str(wheel), "--with", "ai-edge-litert", "edgeft"]
    else:
        start = [tool, "run", "--python", sys.executable, "--spec", str(wheel), "edgeft"]

    def answer(*words: str) -> dict[str, Any]:
        done = subprocess.run([*start, *words, "--json"], capture_output=True, text=True, timeout=400, cwd=tmp_path)
        if "error: Failed to fetch" in done.stderr or "Could not find a version" in done.stderr:
            pytest.skip("no package index can be reached")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    assert {"rpi5", "host"} <= {entry["name"] for entry in answer("targets", "list")["targets"]}
    packages = {package["name"]: package["version"] for package in answer("doctor")["packages"]}
    assert not packages.get("torch") and packages["numpy"]
    if name == "uvx":
        assert answer("bench", str(bundle), "--seconds", "0.2")["p50_ms"] > 0
