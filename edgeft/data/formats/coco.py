"""COCO's json format: pictures, categories and boxes of a split in one file (`coco_files.py`).

Boxes of crowds are left out of training, and the metric ignores them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...config import recipe
from .. import coco_files, recognize
from ..annotations import Entry, Finder, Shape, opened
from ..boxes import Wrong
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset


def open(spec: recipe.Data) -> Dataset:
    """The data at `spec.path`; raises `DataError` naming the file and the entry that is wrong.

    A picture with an annotation that is wrong, or that is absent, is left out; more than 5 % of them in a split stop
    the run.
    """
    read = coco_files.read(spec)
    entries = {part: _entries(table, read.files[part], read.names[part]) for part, table in read.tables.items()}
    finders = {
        part: Finder(read.folder, coco_files.places(read.files[part], read.folder, part)) for part in read.tables
    }
    return opened(entries, finders, read.labels, spec, str(read.root), list(read.notes))


def _entries(table: Mapping[str, Any], path: Path, names: Mapping[str, str]) -> list[Entry | Wrong]:
    entries: list[Entry | Wrong] = []
    for picture in coco_files.pictures(table, path):
        if isinstance(picture, Wrong):
            entries.append(picture)
            continue
        try:
            shapes = tuple(_shape(row, names, where) for where, row in picture.annotations)
            entries.append(Entry(picture.where, picture.name, shapes, picture.size))
        except Wrong as error:
            entries.append(error)

    return entries


def _shape(row: Any, names: Mapping[str, str], where: str) -> Shape:
    values = row.get("bbox")
    plain = isinstance(values, list) and len(values) == 4 and all(type(v) in (int, float) for v in values)
    if not plain:
        raise Wrong(where, f"'bbox' is {values!r}, expected [x, y, width, height]")
    x, y, w, h = (float(v) for v in values)
    return Shape(coco_files.class_of(row, names, where), (x, y, x + w, y + h), where, bool(row.get("iscrowd", 0)))


FORMAT = Format(
    name="coco",
    description="Pictures with boxes in COCO's json files.",
    open=open,
    keys=KEYS,
    recognize=recognize.coco,
)
