"""One small run whose bundles can learn, made once a session: chirps by a voice, and the same by another one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import new_sounds
import pytest
import sounds

FIXTURES = Path(__file__).parent.parent / "fixtures"
TARGETS = ("host", "host-openvino", "host-litert")
SOUND = {"seconds": 0.5, "hop": 0.03, "mels": 24, "coefficients": 0, "level_floor": 0.0}
RECIPE = {
    "task": "keyword",
    "name": "chirps",
    "model": {"name": "ds_cnn", "args": {"width": 16, "blocks": 2, "dropout": 0.0}},
    "data": {"format": "wav-folder", "sound": SOUND},
    "train": {"epochs": 9, "lr": 1e-2, "batch_size": 20, "augment": "none"},
    "quantize": {"epochs": 1, "calibration": "minmax"},
    "export": {"targets": list(TARGETS)},
    "gates": {"max_drop": 0.05, "min_speedup": 0.0},
    "personalize": {"tail": "head", "spare_classes": 1, "steps": 60, "max_forget": 0.05, "rate": 0.05},
}


@dataclass(frozen=True)
class Voices:
    """Bundles by target and folders of new sounds. Read only: copy a bundle before it learns."""

    folder: Path
    reports: dict[str, dict[str, Any]]
    other: Path  # another voice, all three classes
    buzz: Path  # a class that the model does not know

    def bundle(self, target: str) -> Path:
        return self.folder / "bundles" / target


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Voices:
    for package in ("torch", "accelerate", "safetensors", "onnx", "onnxruntime", "openvino", "litert_torch"):
        pytest.importorskip(package, reason=f"the whole path needs {package}")
    import torch

    import edgeft

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("voices")
    data = sounds.write_folder(folder / "sounds", {"train": 30, "val": 20, "test": 16})
    recipe = {**RECIPE, "data": {**RECIPE["data"], "path": str(data)}}  # type: ignore[dict-item]
    edgeft.tune(recipe, folder / "run")
    reports = edgeft.export(folder / "run", TARGETS, folder / "bundles")
    other, buzz = new_sounds.write(folder)
    return Voices(folder, {r["target"]: r for r in reports}, other, buzz)


def shipped(name: str, place: Path) -> Path:
    """A copy of a small LiteRT bundle of tests/fixtures that can learn; nothing is needed to make it."""
    try:
        import ai_edge_litert  # noqa: F401
    except ImportError:
        pytest.importorskip("tflite_runtime", reason="no LiteRT interpreter is installed")
    return Path(shutil.copytree(FIXTURES / name, place / name))


@pytest.fixture
def chirps(tmp_path: Path) -> Path:
    """It knows chirps by one voice."""
    return shipped("chirps", tmp_path)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """It knows users of four kinds."""
    return shipped("people", tmp_path)


@pytest.fixture(scope="session")
def heard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of another voice and of a new class."""
    return new_sounds.write(tmp_path_factory.mktemp("heard"))
