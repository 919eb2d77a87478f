"""A .keras file from tune to bundles: trained with quantization, exported to three runtimes, judged; and as it is."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import end_to_end
import numpy as np
import pytest
import shapes_run

if any(importlib.util.find_spec(package) is None for package in ("keras", "h5py")):
    pytest.skip("keras is not installed (extra keras)", allow_module_level=True)
end_to_end.need()

import edgeft  # noqa: E402

pytestmark = pytest.mark.slow
TARGETS = ("host", "host-openvino", "host-litert")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    import keras_nets
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("keras")
    data = shapes_run.write_data(folder / "shapes.npz", counts={"train": 240, "val": 60, "test": 90})
    path = folder / "net.keras"
    torch.manual_seed(0)
    keras_nets.colours(classes=5).save(str(path))
    recipe = shapes_run.recipe_of(
        data,
        model={"source": "keras", "name": str(path)},
        data={"size": 32},
        train={"epochs": 5, "lr": 8e-3, "batch_size": 16},
        export={"targets": list(TARGETS)},
    )
    notes: list[str] = []
    summary = edgeft.tune(recipe, folder / "run", say=notes.append)
    reports = edgeft.export(folder / "run", list(TARGETS), folder / "bundles")
    return SimpleNamespace(folder=folder, summary=summary, reports=dict(zip(TARGETS, reports)), notes=notes)


def test_it_learns_and_every_runtime_passes(made: SimpleNamespace) -> None:
    assert made.summary["float"] > 0.7
    assert any("softmax at the end" in note for note in made.notes)
    assert any("had 5 outputs: a new one has 3" in note for note in made.notes)
    for name in TARGETS:
        report = made.reports[name]
        assert report["verdict"] == "pass", (name, shapes_run.failed(report))
        assert report["int8_share"] > 0.99


def test_no_runtime_gets_a_transposition_between_layers(made: SimpleNamespace) -> None:
    """ONNX Runtime's file has none; LiteRT's has that of the input, whose layout is the bundle's, and that of the
    pixels before the first linear layer. The uneven padding of strided convolutions costs nothing there."""
    onnx = pytest.importorskip("onnx")
    (model,) = Path(made.reports["host"]["path"]).glob("*.onnx")
    operators = [node.op_type for node in onnx.load(str(model)).graph.node]
    assert "Conv" in operators and "Transpose" not in operators

    operators = _operators(made.reports["host-litert"])
    assert operators.count("TRANSPOSE") == 2 and "PAD" not in operators


def _operators(report: dict[str, Any]) -> list[str]:
    """The names of a .tflite file's operators."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    (model,) = Path(report["path"]).glob("*.tflite")
    opened = interpreter.Interpreter(str(model))
    return [op["op_name"] for op in opened._get_ops_details()]


def test_a_board_predicts_without_keras(made: SimpleNamespace, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for label in shapes_run.LABELS:
        np.save(tmp_path / f"{label}.npy", shapes_run.picture(label, rng))
    script = (
        "import sys\nfor name in ('torch', 'keras'): sys.modules[name] = None\n"
        "from edgeft.cli.entry import main; main()"
    )
    bundle = made.reports["host"]["path"]
    command = [sys.executable, "-c", script, "predict", bundle, *map(str, sorted(tmp_path.glob("*.npy"))), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["predictions"]) == 3
