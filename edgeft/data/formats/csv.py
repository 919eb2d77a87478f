"""Texts with a class each in a comma-separated or tab-separated file."""

from __future__ import annotations

from .. import recognize, table
from ..record import Format

FORMAT = Format(
    name="csv",
    description="Texts with a class each in a comma-separated or tab-separated file.",
    open=table.open,
    keys=("path", "split", "split_seed", "text", "label", "delimiter", "encoding", "quoting", "header"),
    recognize=recognize.csv,
    wants="--format csv --set data.text=[NAME] --set data.label=NAME say which hold texts and classes",
)
