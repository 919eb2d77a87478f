"""Masks from COCO's json format: the polygons and run lengths of its objects, drawn over a background.

Objects are drawn from the largest to the smallest, so that small ones are not hidden. A crowd's run lengths count as
their class. Pixels that no object covers are the class `background`, or the category of that name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...config import recipe
from ...core.errors import DataError
from .. import coco_files, outlines, recognize_tools
from ..annotations import Finder
from ..boxes import Wrong
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset


def open(spec: recipe.Data) -> Dataset:
    """The data at `spec.path`; raises `DataError` naming the file and the entry that is wrong.

    Labels are the background and the categories in the order of their ids. A picture with an annotation that is wrong,
    or that is absent, is left out; more than 5 % of them in a split stop the run. `Missing` without pycocotools.
    """
    read = coco_files.read(spec)
    labels = (outlines.BACKGROUND, *(label for label in read.labels if label.lower() != outlines.BACKGROUND))
    if not any(row.get("segmentation") for table in read.tables.values() for row in _rows(table)):
        raise DataError(
            "has boxes and no outlines", where=str(read.root), remedy='format = "coco" reads boxes, for detection'
        )

    notes = list(read.notes)
    boxes = [where for part in read.tables for where in _without_outline(read, part)]
    if boxes:
        notes.append(f"{len(boxes)} annotations have a box and no outline and are not drawn, for example {boxes[0]}")

    outlined = {
        part: _pictures(table, read.files[part], read.names[part], labels) for part, table in read.tables.items()
    }
    finders = {
        part: Finder(read.folder, coco_files.places(read.files[part], read.folder, part)) for part in read.tables
    }

    return outlines.opened(outlined, finders, labels, spec, str(read.root), notes)


def _rows(table: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (row for row in table["annotations"] if isinstance(row, dict))


def _without_outline(read: coco_files.Tables, part: str) -> list[str]:
    rows = enumerate(_rows(read.tables[part]))
    return [f"{read.files[part]}: annotations[{i}]" for i, row in rows if not row.get("segmentation")]


def _pictures(
    table: Mapping[str, Any], path: Path, names: Mapping[str, str], labels: Sequence[str]
) -> Iterator[outlines.Outlined | Wrong]:
    numbers = {label: labels.index(label) if label in labels else 0 for label in names.values()}
    for picture in coco_files.pictures(table, path):
        if isinstance(picture, Wrong):
            yield picture
            continue
        try:
            size = outlines.size_of(picture.size, picture.where)
            drawn = [
                (_area(row), outline)
                for where, row in picture.annotations
                if (outline := outlines.of_coco(row, numbers[coco_files.class_of(row, names, where)], size, where))
            ]
        except Wrong as error:
            yield error
            continue
        ordered = sorted(drawn, key=lambda pair: -pair[0])
        yield outlines.Outlined(picture.where, picture.name, size, tuple(outline for _, outline in ordered))


def _area(row: Mapping[str, Any]) -> float:
    """The stated area of an object, else that of its box, else 0."""
    box = row.get("bbox")
    if type(row.get("area")) in (int, float):
        return float(row["area"])
    if isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) for v in box):
        return float(box[2] * box[3])
    return 0.0


FORMAT = Format(
    name="coco-masks",
    description="Pictures with outlines of objects (polygons, run lengths) in COCO's json files, drawn as masks.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.coco_masks,
)
