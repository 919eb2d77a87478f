"""torchvision's ResNet-18 and AlexNet by name: tuned, exported to three runtimes, tuned again from local weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shapes_run

import edgeft
import edgeft.config.recipe
from edgeft.cli.entry import run as command

pytestmark = pytest.mark.peer("torchvision")
TARGETS = ("host", "host-openvino", "host-litert")
#: AlexNet takes no smaller pictures, and its 57 million weights take their time
NETS = [
    pytest.param(("resnet18", 32, 1e-3, 6), id="resnet18"),
    pytest.param(("alexnet", 64, 1e-4, 12), id="alexnet", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=NETS)
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    net, side, rate, epochs = request.param
    folder = tmp_path_factory.mktemp(net)
    data = shapes_run.write_data(folder / "shapes.npz", counts={"train": 240, "val": 60, "test": 90})
    recipe = shapes_run.recipe_of(
        data,
        model={"source": "torchvision", "name": net},
        data={"size": side},
        train={"epochs": epochs, "lr": rate, "batch_size": 12},
        quantize={"method": "ptq"},
        export={"targets": list(TARGETS)},
    )
    summary = edgeft.tune(recipe, folder / "run")
    reports = edgeft.export(folder / "run", list(TARGETS), folder / "bundles")
    return SimpleNamespace(
        folder=folder, data=data, recipe=recipe, summary=summary, reports=dict(zip(TARGETS, reports))
    )


def test_it_learns_and_every_runtime_passes(made: SimpleNamespace) -> None:
    assert made.summary["float"] > 0.7
    for name in TARGETS:
        report = made.reports[name]
        assert report["verdict"] == "pass", (name, shapes_run.failed(report))
        assert report["int8_share"] > 0.99
        assert report["size"]["quantized_bytes"] < 0.3 * report["size"]["float_bytes"]
        assert report["extra_metrics"]["auc"]["quantized"] > 0.8
        assert np.sum(report["confusion"]["quantized"]) == 90
        page = (Path(report["path"]) / "report.html").read_text()
        assert all(words in page for words in ("Further metrics", "Confusion", "true class"))


def test_a_board_predicts_without_torch(made: SimpleNamespace, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    pictures = [tmp_path / f"{label}.npy" for label in shapes_run.LABELS]
    for path in pictures:
        np.save(path, shapes_run.picture(path.stem, rng))
    script = (
        "import sys; sys.modules['torch'] = sys.modules['torchvision'] = None\n"
        "from edgeft.cli.entry import main; main()"
    )
    for name in TARGETS:
        bundle = str(made.reports[name]["path"])
        line = [sys.executable, "-c", script, "predict", bundle, *map(str, pictures), "--json"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["predictions"]
        assert [row["label"] for row in found] == list(shapes_run.LABELS)
        alone = subprocess.run([sys.executable, "-I", f"{bundle}/run.py"], capture_output=True, text=True, timeout=120)
        assert alone.returncode == 0 and "decisions alike: ok" in alone.stdout, alone.stdout + alone.stderr


def test_a_run_is_a_weights_file_and_the_head_alone_moves(made: SimpleNamespace, capfd: Any) -> None:
    from safetensors.torch import load_file

    weights = made.folder / "run" / "float.safetensors"
    two = np.load(made.data)
    arrays = {key: two[key] for key in two.files if key != "labels"}
    for split in ("train", "val", "test"):  # another task with two classes: circle or not
        arrays[f"{split}_labels"] = (arrays[f"{split}_labels"] > 0).astype(np.int64)
    np.savez(made.folder / "two.npz", **arrays)
    recipe = {
        **made.recipe,
        "model": {**made.recipe["model"], "weights": str(weights)},
        "data": {**made.recipe["data"], "path": str(made.folder / "two.npz")},
        "update": {"policy": "head"},
        "train": {**made.recipe["train"], "epochs": 1},
    }
    (made.folder / "two.toml").write_text(
        edgeft.config.recipe.dumps(edgeft.config.recipe.from_table(recipe, "the test"))
    )
    assert command(["tune", str(made.folder / "two.toml"), "--out", str(made.folder / "head"), "--overwrite"]) == 0
    assert "has 3 classes" in capfd.readouterr().err
    before, after = load_file(weights), load_file(made.folder / "head" / "float.safetensors")
    moved = {k for k, v in after.items() if v.shape != before[k].shape or not bool((v == before[k]).all())}
    assert len(moved) == 2 and len({name.rpartition(".")[0] for name in moved}) == 1, moved


@pytest.mark.slow
def test_blood_cells(tmp_path: Path) -> None:
    root = os.environ.get("EDGEFT_DATA", "")
    cells = Path(root) / "01_image_medical" / "bccd_cells"
    if not root or not cells.is_dir():
        pytest.skip("EDGEFT_DATA does not name the folder with 01_image_medical")
    recipe = {
        "name": "cells",
        "model": {"source": "torchvision", "name": "resnet18"},
        "data": {"format": "image-folder", "path": str(cells), "size": 64},
        "train": {"epochs": 6, "lr": 1e-3, "batch_size": 32},
        "quantize": {"method": "ptq"},
        "export": {"targets": ["host"]},
        "gates": {"min_speedup": 0.0},
    }
    summary = edgeft.tune(recipe, tmp_path / "run")
    assert summary["float"] > 0.9 and summary["n"] == 210
    (report,) = edgeft.export(tmp_path / "run", ["host"], tmp_path / "bundles")
    assert report["verdict"] == "pass", shapes_run.failed(report)
    assert report["extra_metrics"]["auc"]["quantized"] > 0.98


def test_the_examples_are_recipes() -> None:
    folder = Path(__file__).parent.parent / "examples" / "medical"
    if not folder.is_dir():
        pytest.skip("no checkout with examples")
    for name, network in (("pneumonia", "resnet18"), ("cells", "resnet18")):
        loaded = edgeft.config.recipe.load(folder / f"{name}.toml")
        assert (loaded.task, loaded.model.source, loaded.model.name) == ("classify", "torchvision", network)
