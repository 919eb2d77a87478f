"""Real data that tests read through `EDGEFT_DATA`, and examples of a checkout; a test skips where there are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def folder(name: str) -> Path:
    """The folder `name` of the data."""
    root = os.environ.get("EDGEFT_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"EDGEFT_DATA names no folder with {name}")
    return Path(root) / name


def example(name: str) -> Path:
    """The file or folder `name` of the examples."""
    if not (EXAMPLES / name).exists():
        pytest.skip("no checkout with examples")
    return EXAMPLES / name
