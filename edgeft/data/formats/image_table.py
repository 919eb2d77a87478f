"""Pictures whose classes stand in a table of files and labels: see `class_table.py`."""

from __future__ import annotations

from ...config import recipe
from .. import class_table, pictures, recognize_columns
from ..folders import Scanned
from ..record import Format
from ..samples import Dataset


def open(spec: recipe.Data) -> Dataset:
    """The table or folder at `spec.path`, as `class_table.open_table` reads it.

    Raises `DataError` naming the table and line: no column of files or labels, and more than 5 % of a split's rows
    whose picture is absent or that have no class (fewer are left out with a note).
    """
    table = class_table.open_table(spec, "images", "picture", pictures.walk)
    paths = [file for rows in table.rows.values() for file in rows.files]
    settings = pictures.reading(spec, paths, table.notes)
    splits = table.splits(pictures.Files(paths, settings), spec)
    scanned = Scanned(splits, table.notes, table.labels, str(table.root), shares=spec.split)
    return Dataset(str(table.root), table.labels, scanned, table.notes, pictures.facts(settings, paths))


FORMAT = Format(
    name="image-table",
    description="Pictures whose classes stand in a table of files and labels (Kaggle, Roboflow, Hugging Face).",
    open=open,
    keys=(*pictures.KEYS, "label", "delimiter", "encoding", "quoting", "header"),
    recognize=recognize_columns.image_table,
)
