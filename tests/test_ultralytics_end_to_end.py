"""A model of `ultralytics` from its own file to three runtimes and back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import scenes

from edgeft.cli.entry import run as command

TARGETS = ("host", "host-openvino", "host-litert")


@pytest.mark.peer("ultralytics")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
def test_tune_export_and_predict(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    for package in ("torch", "onnx", "onnxruntime", "openvino", "litert_torch", "pycocotools"):
        pytest.importorskip(package, reason=f"the whole path needs {package}")
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "1")
    import torch
    import ultralytics as package

    torch.manual_seed(0)
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    package.YOLO(f"{name}.yaml", verbose=False).save("theirs.pt")
    scenes.write_yolo(tmp_path / "data", {"train": 64, "val": 12, "test": 24})
    Path("recipe.toml").write_text(
        f"""
        task = "detect"
        name = "scenes"
        [model]
        source = "ultralytics"
        name = "theirs.pt"
        args = {{ size = [64, 96] }}
        [data]
        format = "yolo"
        path = "data"
        [train]
        epochs = 12
        lr = 2e-3
        batch_size = 8
        augment = "none"
        norm_stats = "update"
        [quantize]
        epochs = 1
        calibration = "minmax"
        [export]
        targets = {list(TARGETS)}
        [gates]
        max_drop = 0.05
        min_speedup = 0.0
        """
    )
    assert command(["tune", "recipe.toml", "--out", "run"]) == 3
    assert "--allow-code" in capfd.readouterr().err
    assert command(["tune", "recipe.toml", "--out", "run", "--allow-code", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["float"] >= 0.85
    assert command(["export", "run", "--out", "bundles", "--allow-code", "--json"]) == 0
    capfd.readouterr()
    picture = tmp_path / "data" / "images" / "test" / "0003.png"
    for target in TARGETS:
        report = json.loads(Path("bundles", target, "report.json").read_text())
        assert report["int8_share"] > 0.99 and report["verdict"] == "pass"
        assert command(["predict", f"bundles/{target}", str(picture), "--json"]) == 0
        (said,) = json.loads(capfd.readouterr().out)["predictions"]
        done = subprocess.run([sys.executable, f"bundles/{target}/run.py", picture], capture_output=True, text=True)
        assert done.returncode == 0 and said["found"] in done.stdout, done.stdout + done.stderr
