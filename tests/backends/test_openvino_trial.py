"""Models whose compilation ends the process that does it are loaded with options that keep the process alive."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from export_nets import HOST, IMAGES, Residual, floating, seeded
from exporting import written

from edgeft.backends.openvino import BACKEND, exporter, trial
from edgeft.core import interpreter

ROW = (seeded(1, 18),)
_RUN = """
import json
from pathlib import Path
import numpy as np
from edgeft.backends.openvino import BACKEND
path, options, row = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
print(json.dumps(BACKEND.load(path, options=options).run({"x": np.array(row, np.float32)})["y"].tolist()))
"""


class Gated(torch.nn.Module):
    """Two linear layers whose result meets another computed tensor."""

    def __init__(self, meet: str) -> None:
        super().__init__()
        self.meet = meet
        self.layers = torch.nn.Sequential(torch.nn.Linear(18, 32), torch.nn.ReLU(), torch.nn.Linear(32, 18))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layers(x)
        if self.meet == "gate":
            return y * torch.sigmoid(x)
        return y - x if self.meet == "difference" else y / (1 + x * x)


@pytest.mark.parametrize("meet", ["gate", "difference", "quotient"])
def test_perceptrons_that_meet_another_tensor_load_and_compute(meet: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = floating(Gated(meet).eval(), ROW)
    file = written(exporter, module, ROW, ["x"], ["y"], tmp_path, target=HOST, dynamic_batch=False, kind="float").file
    options = {**BACKEND.options(), **BACKEND.baseline_options(tmp_path / file)}

    # In a process of its own: a fault would end this one.
    words = (str(tmp_path / file), json.dumps(options), json.dumps(ROW[0].tolist()))
    done = subprocess.run(interpreter.here(_RUN, *words), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    expected = module(*ROW).detach().numpy()
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-5)
    assert BACKEND.artifact_options(tmp_path / file) == BACKEND.baseline_options(tmp_path / file)


def test_a_process_is_started_for_models_at_risk_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_dies", lambda path, options: pytest.fail(f"{path} was tried"))
    written(
        exporter,
        floating(Residual(), IMAGES),
        IMAGES,
        ["x"],
        ["y"],
        tmp_path,
        target=HOST,
        dynamic_batch=False,
        kind="float",
    )
    assert BACKEND.baseline_options(tmp_path / "model.xml") == {}


def test_a_plain_perceptron_meets_nothing() -> None:
    def linear(x: ov.Output, rows: int) -> ov.Node:
        weights = ov.opset13.constant(np.ones((rows, x.get_shape()[1]), np.float32))
        bias = ov.opset13.multiply(ov.opset13.constant(np.float32(1)), ov.opset13.constant(np.ones(rows, np.float32)))
        return ov.opset13.add(ov.opset13.matmul(x, weights, False, True), bias)

    x = ov.opset13.parameter([1, 8], np.float32)
    y = linear(ov.opset13.relu(linear(x.output(0), 16)).output(0), 8)
    assert not trial._may_be_fused(ov.Model([y], [x]))
    assert trial._may_be_fused(ov.Model([ov.opset13.subtract(y, x)], [x]))


def test_a_process_that_dies_is_told_from_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.xml").write_text("<net/>")
    assert not trial._dies(tmp_path / "model.xml", {}), "an unreadable file is a fault in words"
    monkeypatch.setattr(trial, "_COMPILE", "import os\nos.kill(os.getpid(), 11)")
    assert trial._dies(tmp_path / "model.xml", {})
