"""Rows of numbers and categories with a number each that is to be predicted, in a .csv or .tsv with a header."""

from __future__ import annotations

from ...config import recipe
from .. import columns_table, recognize_columns
from ..record import Format
from ..samples import Dataset


def open(spec: recipe.Data) -> Dataset:
    """See `columns_table`; the one label is the column `spec.label`, targets are float32 (N, 1)."""
    return columns_table.open_with(spec, lambda tables: columns_table.numbers(tables, spec.label))


FORMAT = Format(
    name="table-values",
    description="Rows of numbers and categories with a number to predict, in a .csv or .tsv with a header.",
    open=open,
    keys=("path", "split", "split_seed", "label", "delimiter", "encoding", "quoting", "header"),
    options=columns_table.Keys,
    recognize=recognize_columns.table_values,
    wants="--set data.label=NAME says which column holds the numbers that are predicted",
)
