"""Masks of drawn scenes to three runtimes and back: tune, export, verify, predict, run.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mask_shapes
import pytest

from edgeft.cli.entry import run as command

TARGETS = ("host", "host-openvino", "host-litert")
ALL = pytest.mark.parametrize("name", TARGETS)
#: what a board does not have
HOST = ("torch", "accelerate", "safetensors", "kornia", "onnx", "onnxscript", "scipy")
RECIPE = """
task = "segment"
name = "shapes"
[model]
name = "lraspp"
args = { size = 64, stride = 4, width = 0.5, depth = 0.3, stages = 3, head_width = 16, dropout = 0.0 }
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


@dataclass(frozen=True)
class Made:
    """The run and its bundles. Read only: copy before changing anything."""

    folder: Path
    run: dict[str, Any]
    reports: dict[str, dict[str, Any]]


def ask(capfd: Any, *argv: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, the one JSON object on stdout, and stderr."""
    code = command([*map(str, argv), "--json"])
    out, err = capfd.readouterr()
    assert out.count("\n") == 1 and "Traceback" not in err, (out, err)
    return code, json.loads(out), err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    for package in ("torch", "accelerate", "safetensors", "onnx", "onnxruntime", "openvino", "litert_torch", "kornia"):
        pytest.importorskip(package, reason=f"the whole path needs {package}")
    import torch

    import edgeft

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("shapes")
    mask_shapes.write_folder(folder / "scenes", {"train": 64, "val": 12, "test": 24})
    (folder / "recipe.toml").write_text(RECIPE.replace('"scenes"', json.dumps(str(folder / "scenes"))))
    run = edgeft.tune(folder / "recipe.toml", folder / "run")
    reports = edgeft.export(folder / "run", TARGETS, folder / "bundles")
    return Made(folder, run, {report["target"]: report for report in reports})
