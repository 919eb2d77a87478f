"""The small configurations of `benchmarks/source_nets.py`, which tests take from a checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def recipe(kind: str, folder: Path, targets: tuple[str, ...]) -> dict[str, Any]:
    """A recipe of the net `kind` and its tiny data, both written into `folder`."""
    table: dict[str, Any] = module().recipe(kind, folder, targets)
    return table


def module() -> Any:
    """`source_nets` itself; the calling test skips where tests lie without benchmarks beside them."""
    if not BENCHMARKS.is_dir():
        pytest.skip("no checkout with benchmarks", allow_module_level=True)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import source_nets
    finally:
        sys.path.remove(str(BENCHMARKS))
    return source_nets
