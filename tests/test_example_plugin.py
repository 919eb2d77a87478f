"""The example package of plug-ins, installed by pip: from `init` or `targets check` to a verified bundle and run.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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


def write_table(path: Path) -> None:
    """900 rows of four columns and a fifth one, `force`, that follows from them and some noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 4)) * [1, 10, 0.1, 3] + [0, 5, 1, -2]
    force = 3 * x[:, 0] + 0.3 * x[:, 1] * np.tanh(x[:, 0]) + 8 * x[:, 2] + rng.normal(0, 0.2, 900)
    np.savetxt(path, np.column_stack([x, force]), "%.6g", ",", header="a,b,c,d,force", comments="")


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
    write_table(folder / "table.csv")
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


@pytest.fixture(scope="module")
def tabular(installed: Installed) -> Installed:
    """With `tabular.toml`: the template of the example's task, for the table's last column."""
    code, answer, _ = installed.edgeft("init", "tabular-regress", "--out", "tabular.toml")
    assert code == 0 and answer["task"] == "tabular-regress"
    path = installed.folder / "tabular.toml"
    text = path.read_text()
    edited = text.replace("data/table.csv", "table.csv").replace('label = "target"', 'label = "force"')
    path.write_text(edited.replace("lr = 3e-3", "lr = 1e-2"))
    return installed


@pytest.mark.slow
def test_a_task_with_its_format_and_model_source_from_the_template_to_run_py(tabular: Installed) -> None:
    code, answer, err = tabular.edgeft("tune", "tabular.toml", "--dry-run")
    assert code == 0, (answer, err)
    code, summary, err = tabular.edgeft("tune", "tabular.toml", "--out", "tabular-run")
    assert code == 0, (summary, err)
    assert summary["metric_record"]["name"] == "MAE" and not summary["metric_record"]["higher_is_better"]
    assert summary["float"] < 0.5 * summary["chance"]
    assert summary["versions"]["edgeft-example"] == "0.1.0"

    code, answer, err = tabular.edgeft("export", "tabular-run", "--out", "tabular-bundles")
    assert code == 0, (answer, err)
    bundle = tabular.folder / "tabular-bundles" / "host"
    report = json.loads((bundle / "report.json").read_text())
    verdicts = {gate["name"]: gate["verdict"] for gate in report["gates"] if gate["required"]}
    assert report["verdict"] == "pass" and report["backend"] == "onnxruntime", verdicts
    for gate in ("accuracy", "agreement", "parity", "integer", "compatibility"):
        assert verdicts[gate] == "pass"
    provenance = json.loads((bundle / "manifest.json").read_text())["provenance"]
    package = "edgeft-example 0.1.0"
    assert provenance["plugins"] == {"task": package, "data.format": package, "model.source": package}
    code, answer, err = tabular.edgeft("verify", "tabular-bundles/host", "--data", "table.csv")
    assert code == 0, (answer, err)

    row = "0.5,4,1.1,-2"
    code, answer, _ = tabular.edgeft("predict", "tabular-bundles/host", row)
    assert code == 0
    (prediction,) = answer["predictions"]
    moved = shutil.copytree(bundle, tabular.folder / "a board of a table")
    for argv, words in (((), "largest difference 0"), ((row,), prediction["label"])):
        done = subprocess.run(
            [sys.executable, "-I", str(moved / "run.py"), *argv], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert words in done.stdout

    # without the package the bundle says what to install, and run.py needed it no more
    alone = {**tabular.environment, "PYTHONPATH": str(Path(__file__).parent.parent)}
    for command in (("verify", bundle), ("predict", bundle, row)):
        code, answer, _ = Installed(tabular.folder, alone).edgeft(*command)
        assert code == 4 and "the task 'tabular-regress' is not installed here" in answer["message"], answer
        assert answer["where"].endswith("manifest.json: task") and package in answer["remedy"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.format=npz", "which the task 'tabular-regress' does not take"),
        ("model.name=smal-mlp", "unknown model 'smal-mlp'"),
        ("data.label=forc", "has no column 'forc'"),
        ("task=classify", "which the task 'classify' does not take"),
    ],
)
def test_what_does_not_fit_the_task_is_refused_before_training(tabular: Installed, setting: str, words: str) -> None:
    code, answer, _ = tabular.edgeft("tune", "tabular.toml", "--dry-run", "--set", setting)
    assert code == 3 and words in answer["message"] and answer["remedy"], answer


def test_a_value_that_is_no_number_is_named_with_its_line(tabular: Installed) -> None:
    lines = (tabular.folder / "table.csv").read_text().splitlines()
    (tabular.folder / "broken.csv").write_text("\n".join([*lines[:4], lines[4].replace(",", ",x", 1), *lines[5:]]))
    code, answer, _ = tabular.edgeft("tune", "tabular.toml", "--dry-run", "--set", "data.path=broken.csv")
    assert code == 3 and answer["where"].endswith("broken.csv:5"), answer


def test_keys_that_the_format_declares_are_read_and_checked(tabular: Installed) -> None:
    text = (tabular.folder / "table.csv").read_text().replace(",", ";")
    (tabular.folder / "semicolons.csv").write_text(f"measured in spring\n{text}")
    recipe = (tabular.folder / "tabular.toml").read_text().replace("table.csv", "semicolons.csv")
    assert "# separator" in recipe
    keys = 'separator = ";"\nskip = 1\nignore = ["d"]\n'
    (tabular.folder / "keys.toml").write_text(recipe.replace("# separator", f"{keys}# separator"))
    code, answer, _ = tabular.edgeft("tune", "keys.toml", "--dry-run")
    assert code == 0 and len(answer["preprocess"]["mean"]) == 3, answer

    lines = recipe.replace("# separator", "separatr = ';'\n# separator")
    (tabular.folder / "keys.toml").write_text(lines)
    code, answer, _ = tabular.edgeft("tune", "keys.toml", "--dry-run")
    assert code == 3 and answer["message"] == "unknown key 'data.separatr'"
    line = 1 + lines.splitlines().index("separatr = ';'")
    assert answer["where"].endswith(f"keys.toml:{line}") and answer["remedy"] == "did you mean 'separator'?"


def test_a_model_source_is_asked_for_its_own_tasks_only(tabular: Installed) -> None:
    settings = ("--set", "model.source=tabular", "--set", 'export.targets=["host"]')
    code, answer, _ = tabular.edgeft("tune", "recipe.toml", "--dry-run", *settings)
    assert code == 3 and "has no models for the task 'classify'" in answer["message"]
    assert answer["remedy"] == "it has models for tabular-regress"
