"""The networks of `benchmarks/` (`source_nets`, `compiler_nets`), which tests take from a checkout."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def recipe(kind: str, folder: Path, targets: tuple[str, ...]) -> dict[str, Any]:
    """A recipe of the net `kind` and its tiny data, both written into `folder`."""
    table: dict[str, Any] = module().recipe(kind, folder, targets)
    return table


def module(name: str = "source_nets") -> Any:
    """A module of `benchmarks/`; the calling test skips where tests lie without benchmarks beside them."""
    if not BENCHMARKS.is_dir():
        pytest.skip("no checkout with benchmarks", allow_module_level=True)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))
