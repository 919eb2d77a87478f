"""Texts with a class each in a comma-separated or tab-separated file with a header."""

from __future__ import annotations

from .. import table
from ..record import Format

FORMAT = Format(
    name="csv",
    description="Texts with a class each in a comma-separated or tab-separated file with a header.",
    open=table.open,
    keys=("path", "split", "split_seed", "text", "label", "quoting"),
)
