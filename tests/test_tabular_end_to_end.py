"""Rows of tables to three runtimes and back, for classes, numbers and anomalies: tune, export, predict, run.py."""

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
from end_to_end import Made, ask, need, tuned

from edgeft.config import starting_recipes

TARGETS = ("host", "host-openvino", "host-litert")
TASKS = ("tabular", "tabular-values", "tabular-anomaly")
#: what a board does not have
HOST = ("torch", "accelerate", "safetensors", "onnx", "onnxscript", "scipy", "PIL")
ROWS = 360


def write_table(path: Path, task: str) -> Path:
    """Machines: hours, heat (some not recorded), maker, and twelve sensors that follow three loads; the last column is
    a class, a price, or the state."""
    rng = np.random.default_rng(0)
    hours, maker = rng.uniform(0, 5000, ROWS), rng.choice(["acme", "böhm", "c, d"], ROWS)
    heat = 40 + hours / 200 + 10 * (maker == "acme") + rng.normal(0, 1, ROWS)
    loads = rng.normal(0, 1, (ROWS, 3))
    sensors = loads @ rng.normal(0, 1, (3, 12)) + rng.normal(0, 0.1, (ROWS, 12))
    worn = heat + hours / 500 + rng.normal(0, 0.5, ROWS)
    broken = rng.random(ROWS) < 0.15
    sensors[broken] += rng.normal(0, 1.0, (int(broken.sum()), 12))
    kind = np.where(worn > np.quantile(worn, 0.5), "worn", "new")
    target = {TASKS[0]: kind, TASKS[1]: np.round(90_000 - 900 * worn), TASKS[2]: np.where(broken, "broken", "fine")}
    lines = [",".join(["serial", "hours", "heat", "maker", *(f"s{i}" for i in range(12)), "target"])]
    for i in range(ROWS):
        known = "" if rng.random() < 0.1 else f"{heat[i]:.2f}"
        fields = [f"no{i}", f"{hours[i]:.0f}", known, f'"{maker[i]}"', *(f"{v:.3f}" for v in sensors[i])]
        lines.append(",".join([*fields, str(target[task][i])]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def recipe_of(task: str, table: Path) -> str:
    """The task's template with the table's path and columns, and a shorter training."""
    text = starting_recipes.template(task)
    label = next(line for line in text.splitlines() if line.startswith("label = "))
    changed = {
        'path = "data/table.csv"': f"path = {json.dumps(str(table))}",
        label: 'label = "target"',
        next(line for line in text.splitlines() if line.startswith("# ignore")): 'ignore = ["serial"]',
        'targets = ["rpi5"]': f"targets = {json.dumps(TARGETS)}",
        "epochs = 60": "epochs = 12" if task != TASKS[2] else "epochs = 30",
        "# epochs = 3": "epochs = 1",
        'normal = "normal"': 'normal = "fine"',
        "# args = {}": "args = { hidden = [32, 32], code = 4 }",
        "# max_drop = 0.01": "max_drop = 0.05",
        "# max_drop_relative = 0.05": "max_drop_relative = 0.2",
        "lr = 1e-3": "lr = 5e-3",
    }
    for before, after in changed.items():
        text = text.replace(before, after)
    return text


@dataclass(frozen=True)
class Table:
    task: str
    path: Path
    made: Made


@pytest.fixture(scope="module", params=TASKS)
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Table:
    need()
    folder = tmp_path_factory.mktemp(str(request.param))
    path = write_table(folder / "table.csv", request.param)
    return Table(request.param, path, tuned(folder, recipe_of(request.param, path), TARGETS))


def test_every_bundle_passes_and_beats_the_answer_that_looks_at_no_row(table: Table) -> None:
    run = table.made.run
    better = run["float"] - run["chance"] if table.task != TASKS[1] else run["chance"] - 2 * run["float"]
    assert better > (0.25 if table.task != TASKS[1] else 0), run
    for name in TARGETS:
        report = table.made.reports[name]
        assert not [(g["name"], g["why"]) for g in report["gates"] if g["required"] and g["verdict"] != "pass"]


def test_columns_are_learned_from_training_rows_and_stand_in_the_manifest(table: Table) -> None:
    manifest = json.loads((Path(table.made.reports["host"]["path"]) / "manifest.json").read_text(encoding="utf-8"))
    spec = manifest["preprocess"]
    columns = {column["name"]: column for column in spec["columns"]}
    assert spec["kind"] == "columns" and spec["size"] == [1 + 2 + 3 + 12] and "serial" not in columns
    assert columns["maker"]["values"] == ["acme", "böhm", "c, d"]
    assert columns["heat"]["missing"] and not columns["hours"]["missing"] and columns["hours"]["std"] > 1000


def test_verify_with_data_judges_again(table: Table, capfd: Any) -> None:
    code, found, _ = ask(capfd, "verify", table.made.reports["host"]["path"], "--data", table.path)
    gates = {g["name"]: g for g in found["gates"]}
    assert code == 0 and gates["accuracy"]["verdict"] == "pass" and gates["accuracy"]["n"] > 40


@pytest.mark.parametrize("name", TARGETS)
def test_a_bundle_of_anomalies_alone_has_a_threshold_of_its_own_artifact(table: Table, capfd: Any, name: str) -> None:
    report, bundle = table.made.reports[name], table.made.bundle(name)
    spec = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["preprocess"]
    if table.task != TASKS[2]:
        assert "threshold" not in spec and "threshold" not in report
        return
    assert spec["threshold"]["score"] == report["threshold"]["score"] > 0 and spec["threshold"]["n"] > 30
    shares = report["threshold"]["false_alarms"], report["threshold"]["detected"]
    assert shares[0]["share"] < 0.2 < shares[1]["share"] and shares[0]["ci95"][0] <= 0.05 <= shares[0]["ci95"][1]
    code, again, _ = ask(capfd, "verify", bundle, "--data", table.path)
    assert code == 0 and again["threshold"]["detected"] == shares[1]
    assert "Threshold" in (bundle / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TARGETS)
def test_a_board_and_run_py_read_a_row_alike_without_the_host_half(table: Table, tmp_path: Path, name: str) -> None:
    header, first, second, *_ = table.path.read_text(encoding="utf-8").splitlines()
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text(f"{header}\n{first}\n", encoding="utf-8")
    two.write_text(f"{header}\n{second}\n{first}\n", encoding="utf-8")
    sensors = ", ".join(f"s{i}=0.1" for i in range(12))
    spoken = f"hours=1200, heat=, maker=acme, {sensors}"
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"  # None there: importing it is an ImportError
        "from edgeft.cli.entry import run\n"
        f"sys.exit(run(['predict', {table.made.reports[name]['path']!r}, *{[str(one), str(two), spoken]!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = json.loads(done.stdout)["predictions"]
    labels = [each["label"] for each in answers]
    assert [each["input"] for each in answers] == [str(one), f"{two}:2", f"{two}:3", spoken]
    assert labels[2] == labels[0], "the same row"

    board = shutil.copytree(table.made.reports[name]["path"], tmp_path / "board")
    line = [sys.executable, "-I", str(board / "run.py")]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    check = subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment)
    assert check.returncode == 0 and "preprocessing: largest difference 0:" in check.stdout, check.stdout + check.stderr
    done = subprocess.run(
        [*line, str(one), str(two), spoken], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for label, answer in zip(labels, done.stdout.splitlines(), strict=True):
        assert answer.split(": ", 1)[1].startswith(label), (label, answer)


def test_bad_rows_are_named(table: Table, tmp_path: Path, capfd: Any) -> None:
    bundle = table.made.reports["host"]["path"]
    for text, words in (("1, 2", "2 values"), ("hours=x, " * 1, "values for the columns")):
        code, found, _ = ask(capfd, "predict", bundle, text)
        assert code == 3 and words in found["message"], found
    (tmp_path / "short.csv").write_text("hours,heat\n1,2\n")
    code, found, _ = ask(capfd, "predict", bundle, tmp_path / "short.csv")
    assert code == 3 and "no column" in found["message"]
