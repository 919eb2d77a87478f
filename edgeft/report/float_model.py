"""A bundle whose artifact is the float model: a sentence for every form of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config.scheme import is_float


def sentence(report: Mapping[str, Any]) -> str:
    """That nothing is quantized; "" of every other format."""
    return "This is the float model: nothing is quantized." if is_float(report) else ""
