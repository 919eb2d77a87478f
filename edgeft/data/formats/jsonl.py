"""Texts with a class each, one JSON object a line."""

from __future__ import annotations

from .. import recognize, table
from ..record import Format

FORMAT = Format(
    name="jsonl",
    description="Texts with a class each, one JSON object a line.",
    open=table.open,
    keys=("path", "split", "split_seed", "text", "label", "encoding"),
    recognize=recognize.jsonl,
)
