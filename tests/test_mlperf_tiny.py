"""MLPerf Tiny's published models have their known accuracies when edgeft's own path measures them."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).parent.parent
DATA = os.environ.get("EDGEFT_DATA", "")

pytestmark = pytest.mark.skipif(
    not DATA or not (Path(DATA) / "09_mlperf_tiny").is_dir(), reason="EDGEFT_DATA with 09_mlperf_tiny is not set"
)


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    pytest.importorskip("ai_edge_litert")
    path = CHECKOUT / "benchmarks" / "mlperf_tiny.py"
    if not path.is_file():
        pytest.skip("no checkout with benchmarks")
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location("mlperf_tiny", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules["mlperf_tiny"] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


@pytest.mark.parametrize(
    ("name", "n", "known"),
    [
        ("DS-CNN float, kws01", 1000, 0.900),
        ("DS-CNN int8, kws01", 1000, 0.902),
        ("ResNet-8 float, ic01", 200, 0.855),
        ("ResNet-8 int8, ic01", 200, 0.850),
    ],
)
def test_known_accuracies(benchmark: ModuleType, tmp_path: Path, name: str, n: int, known: float) -> None:
    case = next(case for case in benchmark.CASES if case.name == name)
    found, counted = benchmark.accuracy(case, Path(DATA), tmp_path)
    assert counted == n and case.known == known
    assert found == pytest.approx(known, abs=1e-9)
