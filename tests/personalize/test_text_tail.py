"""A text encoder's last layer and head as a tail: cut, written as a training step, and proved in every runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
import text_run

import edgeft

for package in ("torch", "accelerate", "tokenizers", "onnxscript", "onnxruntime", "openvino", "litert_torch"):
    pytest.importorskip(package, reason=f"the whole path needs {package}")


@pytest.mark.slow
def test_the_last_layer_of_an_encoder_learns_in_every_runtime(tmp_path: Path) -> None:
    import torch

    torch.set_num_threads(1)
    recipe = text_run.recipe_of(tmp_path, personalize={"tail": "last", "max_forget": 0.2})
    text_run.encoder(tmp_path / "encoder", num_hidden_layers=2)  # with one layer the tail would be the whole model
    edgeft.tune(recipe, tmp_path / "run")
    reports = edgeft.export(tmp_path / "run", text_run.TARGETS, tmp_path / "bundles")
    assert len(reports) == len(text_run.TARGETS) == 3
    for report in reports:
        found = {gate["metric"]: gate for gate in report["gates"] if gate["name"] == "personalize"}
        assert found["agreement"]["verdict"] == "pass" and found["agreement"]["n"] >= 30, found
        assert found["training step"]["quantized"] <= 1e-5, found
