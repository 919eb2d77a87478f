"""Pictures larger than the model's input, seen in windows: one answer in the metric, verify, predict and run.py."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mask_shapes
import numpy as np
import pytest
from end_to_end import Made, ask, need, tuned
from PIL import Image

import edgeft

pytestmark = pytest.mark.slow
TARGETS = ("host", "host-openvino", "host-litert")
RECIPE = """
task = "segment"
name = "large-scenes"
[model]
name = "unet"
args = { size = [64, 64], stride = 2, width = 0.5, depth = 0.3, stages = 3, head_width = 0.25, dropout = 0.0 }
[data]
format = "masks"
path = "scenes"
masks = { void = "rim" }
windows = "yes"
[train]
epochs = 4
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
    folder = tmp_path_factory.mktemp("large")
    mask_shapes.write_folder(folder / "scenes", {"train": 16, "val": 3, "test": 6}, side=150)
    return tuned(folder, RECIPE.replace('"scenes"', json.dumps(str(folder / "scenes"))), TARGETS)


def picture(path: Path, height: int, width: int) -> tuple[Path, np.ndarray]:
    """A piece of a scene of `height` x `width` as a file, and its mask by the labels, void where nobody knows."""
    pixels, ids = mask_shapes.scene(np.random.default_rng(9), side=max(height, width))
    Image.fromarray(pixels[:height, :width]).save(path)
    return path, np.array([0, 255, 1, 2], np.uint8)[ids[:height, :width]]


def test_the_scale_of_the_pictures_is_learned(made: Made) -> None:
    assert made.run["preprocess"]["kind"] == "windows" and made.run["preprocess"]["size"] == [64, 64]
    assert made.run["float"] > 0.6 and made.run["n"] == 6 * 9  # three of 64 a side cover 150


@pytest.mark.parametrize("name", TARGETS)
def test_bundles_pass_and_verify_judges_the_same_windows(made: Made, capfd: Any, name: str) -> None:
    report = made.reports[name]
    assert not [(g["name"], g["why"]) for g in report["gates"] if g["required"] and g["verdict"] != "pass"]
    code, result, _ = ask(capfd, "verify", report["path"], "--data", made.folder / "scenes")
    gates = {g["name"]: g for g in result["gates"]}
    assert code == 0 and gates["accuracy"]["n"] == 6 * 9
    recorded = {g["name"]: g for g in report["gates"]}["accuracy"]
    assert gates["accuracy"]["quantized"] == pytest.approx(recorded["quantized"], abs=1e-9)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(("height", "width"), [(150, 150), (100, 230), (40, 50)])
def test_predict_and_run_py_give_one_answer_at_the_pictures_own_size(
    made: Made, tmp_path: Path, name: str, height: int, width: int
) -> None:
    bundle, (path, truth) = made.bundle(name), picture(tmp_path / "scene.png", height, width)
    (seen,) = edgeft.predict(bundle, [str(path)], out=tmp_path / "seen")
    mask = np.asarray(Image.open(next(f for f in seen["files"] if f.endswith("mask.png"))))
    assert seen["size"] == [height, width] == list(mask.shape)
    if min(height, width) > 64:
        assert (mask == truth)[truth != 255].mean() > 0.85

    done = subprocess.run(
        [sys.executable, "-I", str(bundle / "run.py"), str(path)],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == f"{path}: {seen['label']}" and re.search(r"\d %", seen["label"])


def test_verify_gives_the_metric_of_what_predict_answers(made: Made, tmp_path: Path, capfd: Any) -> None:
    """mIoU over the joined masks of all test pictures is that of the gate, which counts window by window."""
    pictures = sorted((made.folder / "scenes" / "test" / "images").iterdir())
    results = edgeft.predict(made.bundle("host"), [str(p) for p in pictures], out=tmp_path / "seen")
    total = np.zeros((3, 3), np.int64)
    for path, result in zip(pictures, results, strict=True):
        mask = np.asarray(Image.open(next(f for f in result["files"] if f.endswith("mask.png"))))
        ids = np.asarray(Image.open(path.parent.parent / "labels" / path.name))
        for k, number in enumerate((0, 2, 3)):
            total[k] += np.bincount(mask[ids == number], minlength=3)
    iou = np.diag(total) / (total.sum(0) + total.sum(1) - np.diag(total))
    gate = {g["name"]: g for g in made.reports["host"]["gates"]}["accuracy"]
    assert iou.mean() == pytest.approx(gate["quantized"], abs=2e-3)


def test_the_dry_run_counts_pictures_and_tells_of_windows(made: Made, tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace('"scenes"', json.dumps(str(made.folder / "scenes"))))
    code, plan, said = ask(capfd, "tune", path, "--dry-run")
    assert code == 0 and plan["samples"] == {"train": 16, "val": 3, "test": 6}
    assert "windows of 64x64 pixels" in said and "9 a picture of 150x150" in said


def test_a_task_without_windows_refuses_the_key(tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('task = "classify"\n[data]\npath = "x"\nwindows = "yes"\n')
    code, answer, _ = ask(capfd, "tune", path, "--dry-run")
    assert code == 3 and "data.windows" in answer["where"]
