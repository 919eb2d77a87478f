"""One small real run and its bundles, made once a session for all tests that need them."""

from __future__ import annotations

import importlib.util
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import draws
import pytest
import schemas
import shapes_run
from made_once import made_once


def pytest_configure() -> None:
    """A job in the background is started deaf to ctrl-C, and so is all that it starts; our tests need it heard. Random
    tests draw the same inputs in every run, unless `EDGEFT_RANDOM` asks for more (draws.py)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    draws.load_profile()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings are errors, as pyproject.toml says, but in long tests and where other packages are compared with, whose
    own deprecations are many. Tests of hypothesis have the mark `random`."""
    tolerant = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning")]
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.random)
        if item.get_closest_marker("slow") or item.get_closest_marker("peer"):
            item.add_marker(pytest.mark.filterwarnings("default"))
            for mark in tolerant:
                item.add_marker(mark)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `peer` runs where its packages are: `scripts/test --peers` makes that environment."""
    for mark in item.iter_markers("peer"):
        for package in mark.args:
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed (scripts/test --peers)")


@dataclass(frozen=True)
class Shapes:
    """The data file, the finished run directory and its summary. Read only: copy before changing anything."""

    data: Path
    run: Path
    summary: dict[str, Any]


@dataclass(frozen=True)
class Exported:
    """Bundles and their reports by target. Read only: copy before changing anything."""

    folder: Path
    reports: dict[str, dict[str, Any]]

    def bundle(self, target: str) -> Path:
        return self.folder / target


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    """A ResNet-8 tuned in float and in three schemes."""
    for package in ("torch", "accelerate", "safetensors"):
        pytest.importorskip(package, reason=f"tuning needs {package}")
    import torch

    import edgeft

    torch.set_num_threads(1)

    def make(folder: Path) -> dict[str, Any]:
        data = shapes_run.write_data(folder / "shapes.npz")
        return edgeft.tune(shapes_run.recipe_of(data), folder / "run")

    folder, summary = made_once("shapes", make, tmp_path_factory)
    return Shapes(folder / "shapes.npz", folder / "run", summary)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data file of 150 pictures of shapes."""
    path = tmp_path_factory.mktemp("small") / "data.npz"
    return shapes_run.write_data(path, counts={"train": 60, "val": 30, "test": 60})


@pytest.fixture(scope="session")
def exported(shapes: Shapes, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The run in all runtimes and schemes, verified."""
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino", "litert_torch", "ai_edge_litert"):
        pytest.importorskip(package, reason=f"exporting to every runtime needs {package}")
    import edgeft

    def make(folder: Path) -> dict[str, Any]:
        reports = edgeft.export(shapes.run, shapes_run.TARGETS, folder / "bundles")
        schemas.hold(shapes.run, reports)
        return {report["target"]: report for report in reports}

    folder, reports = made_once("shapes-bundles", make, tmp_path_factory)
    return Exported(folder / "bundles", reports)
