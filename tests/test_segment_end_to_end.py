"""Masks of drawn scenes to three runtimes and back: tune, export, verify, predict, run.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mask_shapes
import numpy as np
import pytest
from end_to_end import Made, ask, need, quick, tuned
from PIL import Image

TARGETS = ("host", "host-openvino", "host-litert")
ALL = pytest.mark.parametrize("name", quick("host", "host-openvino"))
#: what a board does not have
HOST = ("torch", "accelerate", "safetensors", "kornia", "onnx", "onnxscript", "scipy")
RECIPE = """
task = "segment"
name = "shapes"
[model]
name = "unet"
args = { stride = 2, width = 0.5, depth = 0.3, stages = 3, head_width = 0.25, dropout = 0.0 }
[data]
format = "masks"
path = "scenes"
masks = { void = "rim" }
[train]
epochs = 8
lr = 5e-3
batch_size = 4
[quantize]
epochs = 1
[export]
targets = ["host", "host-openvino", "host-litert"]
[gates]
max_drop = 0.05
min_speedup = 0.0
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    need("kornia")
    folder = tmp_path_factory.mktemp("shapes")
    mask_shapes.write_folder(folder / "scenes", {"train": 64, "val": 12, "test": 24})
    return tuned(folder, RECIPE.replace('"scenes"', json.dumps(str(folder / "scenes"))), TARGETS)


def drawn(path: Path) -> Path:
    Image.fromarray(mask_shapes.scene(np.random.default_rng(5))[0]).save(path)
    return path


@ALL
def test_every_bundle_passes(made: Made, name: str) -> None:
    report = made.reports[name]
    assert not [(g["name"], g["why"]) for g in report["gates"] if g["required"] and g["verdict"] != "pass"]
    manifest = json.loads((Path(report["path"]) / "manifest.json").read_text())
    assert manifest["task"] == "segment" and manifest["labels"] == list(mask_shapes.LABELS)
    assert "data:image/png" in (Path(report["path"]) / "report.html").read_text()


def test_the_scenes_are_learned(made: Made) -> None:
    assert made.run["preprocess"]["size"] == [64, 64], "that of the pictures"
    assert made.run["float"] > 0.6  # the commonest class everywhere has less than a third


@ALL
def test_verify_with_data_judges_again(made: Made, capfd: Any, name: str) -> None:
    code, found, _ = ask(capfd, "verify", made.reports[name]["path"], "--data", made.folder / "scenes")
    gates = {g["name"]: g for g in found["gates"]}
    assert code == 0 and gates["accuracy"]["verdict"] == "pass" and gates["accuracy"]["n"] == 24


@ALL
def test_a_board_predicts_without_the_host_half(made: Made, tmp_path: Path, name: str) -> None:
    path = str(drawn(tmp_path / "scene.png"))
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({HOST!r}))\n"  # None there: importing it is an ImportError
        "from edgeft.cli.entry import run\n"
        f"sys.exit(run(['predict', {made.reports[name]['path']!r}, {path!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (seen,) = json.loads(done.stdout)["predictions"]
    assert seen["classes"][0]["label"] == "ground" and seen["size"] == [64, 64]


def test_predict_writes_overlay_and_mask(made: Made, tmp_path: Path, capfd: Any) -> None:
    bundle, path = made.reports["host"]["path"], drawn(tmp_path / "scene.png")
    code, found, _ = ask(capfd, "predict", bundle, path, path, "--out", tmp_path / "seen")
    assert code == 0 and [set(p) for p in found["predictions"]] == [{"input", "label", "classes", "size", "files"}] * 2
    assert sorted(p.name for p in (tmp_path / "seen").iterdir()) == [
        f"{i}-scene.{kind}.png" for i in (1, 2) for kind in ("mask", "overlay")
    ]
    ids = mask_shapes.scene(np.random.default_rng(5))[1]
    seen = np.asarray(Image.open(tmp_path / "seen" / "1-scene.mask.png"))
    truth = np.array([0, 0, 1, 2])[ids]
    assert (seen == truth)[ids != mask_shapes.RIM].mean() > 0.9
    code, found, _ = ask(capfd, "predict", bundle, path, "--out", tmp_path / "seen")
    assert code == 2 and "not empty" in found["message"]
    code, found, _ = ask(capfd, "predict", bundle, tmp_path / "absent.png", "--out", tmp_path / "other")
    assert code == 3 and not (tmp_path / "other").exists()


@ALL
def test_run_py_checks_itself_and_says_the_shares(made: Made, tmp_path: Path, name: str) -> None:
    board = tmp_path / "board"
    shutil.copytree(made.reports[name]["path"], board)
    line = [sys.executable, "-I", str(board / "run.py")]
    for arguments, words in (((), ("decisions alike: ok",)), ((drawn(tmp_path / "scene.png"),), (": ground ", " %"))):
        done = subprocess.run(
            [*line, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        assert done.returncode == 0 and all(word in done.stdout for word in words), done.stdout + done.stderr


def test_the_template_is_a_recipe_that_a_user_can_fill(made: Made, tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "recipe.toml"
    assert ask(capfd, "init", "segment", "--out", path)[0] == 0
    path.write_text(path.read_text().replace('path = "data"', f"path = {json.dumps(str(made.folder / 'scenes'))}"))
    code, plan, _ = ask(capfd, "tune", path, "--dry-run", "--set", 'data.masks={void="rim"}')
    assert code == 0 and plan["samples"] == {"train": 64, "val": 12, "test": 24}
    assert plan["labels"] == list(mask_shapes.LABELS)
