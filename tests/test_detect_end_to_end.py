"""Detection from drawn scenes to three runtimes and back: tune, export, verify, predict, run.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scenes
from end_to_end import ask, need, quick, tuned

from edgeft.config import recipe

TARGETS = ("host", "host-openvino", "host-litert")
ALL = pytest.mark.parametrize("name", quick("host", "host-openvino"))
#: what a board does not have
HOST = ("torch", "accelerate", "safetensors", "kornia", "onnx", "onnxscript", "pycocotools", "scipy")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    need("pycocotools", "PIL")
    folder = tmp_path_factory.mktemp("scenes")
    data = scenes.write_yolo(folder / "data", {"train": 64, "val": 12, "test": 24})
    table = {
        "task": "detect",
        "name": "scenes",
        "model": {"name": "yolo_plain", "args": {"size": [64, 96], "base": 8, "width": 16}},
        "data": {"format": "yolo", "path": str(data)},
        "train": {"epochs": 9, "lr": 3e-3, "batch_size": 8, "augment": "none"},
        "quantize": {"epochs": 1, "calibration": "minmax"},
        "export": {"targets": list(TARGETS)},
        "gates": {"max_drop": 0.05, "min_speedup": 0.0},
    }
    whole = tuned(folder, table, TARGETS)
    return SimpleNamespace(folder=folder, data=data, run=whole.run, reports=whole.reports, table=table)


def test_the_run_learned(made: SimpleNamespace) -> None:
    assert made.run["metric"] == "AP50" and made.run["chance"] == 0 and made.run["labels"] == list(scenes.LABELS)
    assert made.run["float"] >= 0.85 and made.run["quantized"] >= made.run["float"] - 0.05
    assert made.run["preprocess"]["kind"] == "letterbox"


@ALL
def test_every_bundle_passes_and_shows_its_boxes(made: SimpleNamespace, name: str) -> None:
    report = made.reports[name]
    assert not [(g["name"], g["why"]) for g in report["gates"] if g["required"] and g["verdict"] != "pass"]
    assert report["worst_class"]["label"] in scenes.LABELS and set(report["per_class"]) == set(scenes.LABELS)
    accuracy = next(g for g in report["gates"] if g["name"] == "accuracy")
    assert accuracy["ci95"][0] <= accuracy["drop"] <= accuracy["ci95"][1]
    manifest = json.loads((Path(report["path"]) / "manifest.json").read_text())
    outputs = manifest["graphs"][0]["outputs"]
    assert [t["name"] for t in outputs] == [f"output_{i}" for i in range(6)]
    assert len({t["step"] for t in outputs}) == 6, "every branch has a grid of its own"
    page = (Path(report["path"]) / "report.html").read_text()
    assert "dashed white" in page and "data:image/png" in page


def test_verify_with_data_judges_again(made: SimpleNamespace, capfd: Any) -> None:
    report = made.reports["host"]
    code, found, _ = ask(capfd, "verify", report["path"], "--data", made.data)
    before, after = (next(g for g in gates if g["name"] == "accuracy") for gates in (report["gates"], found["gates"]))
    assert code == 0 and after["n"] == 24 and after["quantized"] == before["quantized"]


@ALL
def test_a_board_predicts_without_the_host_half(made: SimpleNamespace, tmp_path: Path, name: str) -> None:
    pixels, boxes = scenes.scene(np.random.default_rng(99))
    scenes.save(tmp_path / "large.png", np.repeat(np.repeat(pixels, 3, axis=0), 3, axis=1))
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"  # None there: importing it is an ImportError
        "from edgeft.cli.entry import run\n"
        f"sys.exit(run(['predict', {made.reports[name]['path']!r}, {str(tmp_path / 'large.png')!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (seen,) = json.loads(done.stdout)["predictions"]
    assert sorted(b["label"] for b in seen["boxes"]) == sorted(scenes.LABELS[b[0]] for b in boxes)
    for kind, *corners in boxes:
        wanted = 3 * np.array(corners, float)
        gaps = [np.abs(np.array(b["box"]) - wanted).max() for b in seen["boxes"] if b["label"] == scenes.LABELS[kind]]
        assert min(gaps) < 20, "in the picture's own pixels"


@ALL
def test_run_py_checks_itself_and_says_the_same(made: SimpleNamespace, tmp_path: Path, capfd: Any, name: str) -> None:
    board = tmp_path / "board"
    shutil.copytree(made.reports[name]["path"], board)
    picture = made.data / "images" / "test" / "0003.png"
    code, found, _ = ask(capfd, "predict", made.reports[name]["path"], picture)
    assert code == 0
    for arguments, words in (
        ((), "preprocessing: largest difference 0"),
        ((str(picture),), found["predictions"][0]["found"]),
    ):
        done = subprocess.run(
            [sys.executable, "-I", str(board / "run.py"), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        assert done.returncode == 0 and words in done.stdout, done.stdout + done.stderr


def test_bad_input_is_named(made: SimpleNamespace, tmp_path: Path, capfd: Any) -> None:
    bundle = made.reports["host"]["path"]
    (tmp_path / "words.png").write_text("no picture")
    for path in (tmp_path / "words.png", tmp_path / "absent.png"):
        code, found, _ = ask(capfd, "predict", bundle, path)
        assert code == 3 and path.name in found["where"]
    broken = shutil.copytree(made.data, tmp_path / "broken")
    for i in range(10):
        (broken / "labels" / "train" / f"000{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.2 0.2\n")
    (tmp_path / "recipe.toml").write_text(recipe.dumps(recipe.from_table(made.table, "here")))
    line = ("tune", tmp_path / "recipe.toml", "--out", tmp_path / "run", "--set")
    code, found, _ = ask(capfd, *line, f"data.path={broken}")
    assert code == 3 and found["where"] == f"{broken / 'labels' / 'train' / '0000.txt'}:2"
    assert "class 7 is out of range" in found["message"] and not (tmp_path / "run").exists()
    code, found, _ = ask(capfd, *line, "model.args={size = [60, 90]}")
    assert code == 3 and "multiple of 32" in found["message"]


def test_the_template_is_a_recipe_that_a_user_can_fill(made: SimpleNamespace, tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "recipe.toml"
    assert ask(capfd, "init", "detect", "--out", path)[0] == 0
    path.write_text(path.read_text().replace('path = "data"', f"path = {json.dumps(str(made.data))}"))
    small = ("model.name=yolo_plain", "model.weights=", "model.args={size = [64, 96], base = 8}")
    code, plan, _ = ask(capfd, "tune", path, "--dry-run", *(part for each in small for part in ("--set", each)))
    assert code == 0 and plan["samples"] == {"train": 64, "val": 12, "test": 24}
    assert not plan["objections"]["rpi5"]


def test_the_example_is_a_recipe() -> None:
    path = Path(__file__).parent.parent / "examples" / "traffic" / "recipe.toml"
    if not path.is_file():
        pytest.skip("no checkout with examples")
    loaded = recipe.load(path)
    assert (loaded.task, loaded.model.name, loaded.train.norm_stats) == ("detect", "yolo_lite0", "freeze")
