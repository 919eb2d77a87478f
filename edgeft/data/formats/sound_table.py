"""Sounds whose classes stand in a table of files and labels (ESC-50, UrbanSound8K, FSD50K): see `class_table.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...config import recipe
from .. import class_table, recognize_columns, sound_facts
from ..folders import Scanned
from ..record import Format
from ..samples import Dataset
from . import wav_folder


def open(spec: recipe.Data) -> Dataset:
    """The table or folder at `spec.path`, as `class_table.open_table` reads it. Facts: those of `wav_folder.open`.

    Raises `DataError` naming the table and line: no column of files or labels, and more than 5 % of a split's rows
    whose sound is absent or that have no class (fewer are left out with a note).
    """
    table = class_table.open_table(spec, "audio", "sound", _walk)
    paths = [str(file) for rows in table.rows.values() for file in rows.files]
    splits = table.splits(wav_folder.Files(Path(), paths), spec)
    scanned = Scanned(splits, table.notes, table.labels, str(table.root), "sounds", spec.split)
    return Dataset(str(table.root), table.labels, scanned, table.notes, sound_facts.of_files(splits))


def _walk(root: Path) -> Iterator[Path]:
    files = (path for path in sorted(root.rglob("*")) if not path.name.startswith("."))
    return (path for path in files if path.suffix.lower() in wav_folder.SUFFIXES and path.is_file())


FORMAT = Format(
    name="sound-table",
    description="Sounds whose classes stand in a table of files and labels (ESC-50, UrbanSound8K).",
    open=open,
    keys=("path", "split", "split_seed", "label", "delimiter", "encoding", "quoting", "header"),
    recognize=recognize_columns.sound_table,
)
