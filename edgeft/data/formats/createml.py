"""CreateML's JSON, which Roboflow and others write too: a list of pictures, each with its objects.

`{"image": "a.jpg", "annotations": [{"label": "cat", "coordinates": {"x", "y", "width", "height"}}]}`: the middle of a
box and its sides, in pixels. Splits are folders with a file each; without any the data is divided here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...config import recipe
from ...core.errors import DataError
from .. import recognize_tools
from ..annotations import Entry, Finder, Shape, json_of, numbers_of, opened
from ..boxes import Wrong
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset
from ..split_files import located

_PICTURES = ("image", "imagefilename")
_OBJECTS = ("annotations", "annotation")


def open(spec: recipe.Data) -> Dataset:
    """The file or folder at `spec.path`; labels are sorted. Raises `DataError` naming the file of what is wrong.

    A picture with an object that is wrong, or that is absent, is left out; more than 5 % of them in a split stop the
    run.
    """
    root, files = located(spec, ".json", "CreateML's JSON")
    entries = {
        part: [_entry(row, f"{file}: [{i}]") for i, row in enumerate(_rows(file))] for part, file in files.items()
    }
    labels = sorted({s.label for part in entries.values() for e in part if isinstance(e, Entry) for s in e.shapes})
    finders = {part: Finder(root, [file.parent]) for part, file in files.items()}
    return opened(entries, finders, labels, spec, str(root))


def _rows(file: Path) -> list[Any]:
    rows = json_of(file)
    if not isinstance(rows, list):
        raise DataError("is no list of pictures", where=str(file), remedy="expected the JSON that CreateML reads")
    return rows


def _entry(row: Any, where: str) -> Entry | Wrong:
    try:
        name, objects = _value(row, _PICTURES, str, where), _value(row, _OBJECTS, list, where)
        return Entry(where, name, tuple(_shape(item, f"{where}: {name}") for item in objects))
    except Wrong as error:
        return error


def _shape(item: Any, where: str) -> Shape:
    label = _value(item, ("label",), str, where).strip()
    if not label:
        raise Wrong(where, "has an object without a label")
    x, y, w, h = numbers_of(_value(item, ("coordinates",), dict, where), ("x", "y", "width", "height"), where)
    return Shape(label, (x - w / 2, y - h / 2, x + w / 2, y + h / 2), where)


def _value(row: Any, keys: tuple[str, ...], kind: type, where: str) -> Any:
    value = next((row[key] for key in keys if key in row), None) if isinstance(row, dict) else None
    if not isinstance(value, kind):
        raise Wrong(where, f"{keys[0]!r} is {value!r}, expected a {'text' if kind is str else 'list or table'}")
    return value


FORMAT = Format(
    name="createml",
    description="Pictures with boxes in the JSON of CreateML, which Roboflow writes too.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.createml,
)
