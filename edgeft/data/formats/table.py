"""Rows of numbers and categories with a class each, in a .csv or .tsv."""

from __future__ import annotations

import dataclasses

from ...config import recipe
from .. import columns_table, recognize_columns
from ..record import Format
from ..samples import Dataset, require_classes


def open(spec: recipe.Data) -> Dataset:
    """See `columns_table`; labels are the classes of the column `spec.label`, sorted by name, numbers by size."""
    dataset = columns_table.open_with(spec, lambda tables: columns_table.classes(tables, spec.label))
    warnings = require_classes(dataset.splits, dataset.labels, dataset.name, spec.split)
    return dataclasses.replace(dataset, notes=[*dataset.notes, *warnings])


FORMAT = Format(
    name="table",
    description="Rows of numbers and categories with a class each, in a .csv or .tsv.",
    open=open,
    keys=("path", "split", "split_seed", "label", "delimiter", "encoding", "quoting", "header"),
    options=columns_table.Keys,
    recognize=recognize_columns.table,
    wants="--set data.label=NAME says which column holds the classes",
)
