"""ExecuTorch end to end, by the command line: a run becomes a program, verified, and answered by the bundle's run.py.

The run is the one of ResNet-8 on shapes that all tests share (conftest.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemas
import shapes_run
from end_to_end import ask
from shapes_run import failed, gate

import edgeft
from edgeft.cli.entry import run as main
from edgeft.config import recipe

pytest.importorskip("executorch", reason="the runtime under test")

TARGET = "host-executorch"
#: a network with a median along its rows, for which the runtime has no kernel
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Linear(8, classes)

    def forward(self, x):
        x = torch.relu(self.body(x))
        return self.head((x + x.median(-1, True)[0]).mean((2, 3)))

def make(n_classes):
    return Net(n_classes), {"size": [32, 32]}
"""


@pytest.fixture(scope="module")
def bundle(shapes: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that `edgeft export` writes."""
    folder = tmp_path_factory.mktemp("executorch")
    words = ["export", str(shapes.run), "--target", TARGET, "--out", str(folder)]
    assert main([*words, "--set", "gates.min_speedup=0.0"]) == 0
    return folder / TARGET


def test_a_run_becomes_a_program_that_passes(bundle: Path, shapes: Any) -> None:
    report = json.loads((bundle / "report.json").read_text())
    schemas.hold(shapes.run, [{**report, "path": str(bundle)}])
    assert report["verdict"] == "pass" and report["backend"] == "executorch", failed(report)
    assert (bundle / "model.pte").is_file() and report["int8_share"] > 0.99
    assert gate(report, "integer", "int8_weights_share")["n"] == 10, "nine convolutions and a linear layer"
    accuracy = gate(report, "accuracy")
    assert accuracy["n"] == shapes_run.COUNTS["test"] and accuracy["quantized"] > 0.8
    assert gate(report, "agreement")["verdict"] == gate(report, "parity")["verdict"] == "pass"


def test_it_verifies_again_with_the_data(bundle: Path, shapes: Any, capfd: pytest.CaptureFixture[str]) -> None:
    code, answer, _ = ask(capfd, "verify", bundle, "--data", shapes.data)
    assert (code, answer["verdict"]) == (0, "pass"), failed(answer)
    exported = json.loads((bundle / "report.json").read_text())
    assert gate(answer, "accuracy")["quantized"] == gate(exported, "accuracy")["quantized"]


def test_an_altered_weight_is_caught(bundle: Path, tmp_path: Path) -> None:
    import shutil

    from edgeft import backends

    altered = Path(shutil.copytree(bundle, tmp_path / "altered"))
    weights = backends.get("executorch").integer_weights(altered / "model.pte")
    largest = max(weights, key=lambda weight: weight.data.size)
    old = np.ascontiguousarray(largest.data).tobytes()
    content = (altered / "model.pte").read_bytes()
    assert content.count(old) == 1
    (altered / "model.pte").write_bytes(content.replace(old, bytes([old[0] ^ 1]) + old[1:]))
    assert edgeft.verify(shapes_run.seal(altered))["verdict"] == "fail"


def test_run_py_answers_as_predict_does(
    bundle: Path, shapes: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with np.load(shapes.data, allow_pickle=False) as data:
        np.save(tmp_path / "one.npy", data["test_images"][0])
    code, answer, _ = ask(capfd, "predict", bundle, tmp_path / "one.npy")
    assert code == 0
    expected = answer["predictions"][0]["label"]

    for words, said in (([], "decisions alike: ok"), ([str(tmp_path / "one.npy")], expected)):
        command = [sys.executable, "-I", str(bundle / "run.py"), *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
        assert done.returncode == 0 and said in done.stdout, done.stdout + done.stderr


def test_an_op_without_a_kernel_is_named_before_training(
    small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text(NET)
    model = {"source": "python", "name": f"{tmp_path}/net.py:make"}
    table = shapes_run.recipe_of(small, model=model, export={"targets": [TARGET]})
    (tmp_path / "recipe.toml").write_text(recipe.dumps(recipe.from_table(table, "the test")))

    words = ("targets", "check", TARGET, tmp_path / "recipe.toml", "--allow-code")
    code, answer, _ = ask(capfd, *words)
    (refused,) = (entry for entry in answer["objections"] if entry["severity"] == "refuse")
    assert code == 1 and answer["refused"]
    assert "ExecuTorch has no kernel for the op aten::median" in refused["why"] and "median" in refused["op"]

    code, answer, _ = ask(capfd, "tune", tmp_path / "recipe.toml", "--allow-code", "--out", tmp_path / "run")
    assert code == 3 and "ExecuTorch has no kernel for the op aten::median" in answer["message"]
    assert answer["remedy"] == "rewrite it with other ops, or choose a target with another runtime"
    assert not (tmp_path / "run" / "summary.json").exists()
