"""Texts with a class each in a Parquet file; needs pyarrow (extra "parquet")."""

from __future__ import annotations

from .. import recognize, table
from ..record import Format

FORMAT = Format(
    name="parquet",
    description="Texts with a class each in a Parquet file (extra parquet).",
    open=table.open,
    keys=("path", "split", "split_seed", "text", "label"),
    recognize=recognize.parquet,
)
