"""The classes of label masks: class files in the forms that data sets bring, and the lists that every user knows.

A class file has a class a line in the order of the label ids (`name`, `name r g b`, `r g b name`), is a table with the
columns name, r, g, b (`class_dict.csv` of CamVid), or is ADE20K's `objectInfo150.txt`. Folders of Cityscapes and of
Pascal VOC have none: their lists stand here.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import DataError
from .annotations import text_of

#: files that are looked for, in this order
FILES = (
    *("classes.txt", "labels.txt", "label_colors.txt", "class_dict.csv", "labelmap.txt"),
    *("objectInfo150.txt", "objectInfo150.csv"),
)
_COLOUR_LAST = re.compile(r"(.+?)[\s,;:]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})")
_COLOUR_FIRST = re.compile(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,;:]+(.+)")
#: the id of ADE20K's pixels of no class
_ADE_VOID = "unlabelled"


@dataclass(frozen=True)
class Classes:
    """Names in the order of their label ids, colours of those that have one, and ids or names that are void.

    `where` names the origin in messages; `by_id` are label ids of classes that are not numbered 0, 1, 2, ...
    """

    names: tuple[str, ...]
    where: str
    colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    void: tuple[int | str, ...] = ()
    by_id: dict[int, int] = field(default_factory=dict)


#: Cityscapes: label id of each of the 19 classes that are judged (`cityscapesscripts`, labels.py)
_CITYSCAPES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car",
    27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
#: Pascal VOC 2012 in the order of its palette; 255 is the border of objects
_VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def of_layout(layout: str, train_ids: bool = False) -> Classes | None:
    """The list of a known data set by the folder of its masks ("gtFine", "SegmentationClass"), or None.

    `train_ids`: Cityscapes' masks hold training ids (0 to 18), not label ids.
    """
    if layout.startswith("gt"):
        names = tuple(_CITYSCAPES.values())
        ids = {} if train_ids else {id_: number for number, id_ in enumerate(_CITYSCAPES)}
        return Classes(names, "the classes of Cityscapes", by_id=ids)
    return Classes(_VOC, "the classes of Pascal VOC") if layout == "SegmentationClass" else None


def read(root: Path, name: str = "") -> Classes | None:
    """The class file in `root`, called `name` or as usual; None without any. Raises `DataError` naming the line."""
    path = next((root / candidate for candidate in ((name,) if name else FILES) if (root / candidate).is_file()), None)
    if path is None:
        return None
    if path.name.startswith("objectInfo150"):
        return _ade(path)

    text = text_of(path)
    names: list[str] = []
    colours: dict[int, tuple[int, int, int]] = {}

    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        label, colour = _line(line)
        if not label or label.startswith("#") or (number == 1 and label.lower().replace(" ", "") == "name,r,g,b"):
            continue
        if colour is not None:
            where = f"{path}:{number}"
            if max(colour) > 255:
                raise DataError(f"{line!r} has a colour beyond 255", where=where)
            if colour in colours.values():
                raise DataError(f"{line!r} has the colour of another class", where=where)
            colours[len(names)] = colour
        names.append(label)

    if colours and len(colours) < len(names):
        without = next(names[i] for i in range(len(names)) if i not in colours)
        raise DataError(f"some classes have a colour and {without!r} has none", where=str(path))

    numbered = [re.fullmatch(r"(\d+)\s*[:=]\s*(\S.*)", name) for name in names]
    if all(numbered) and [int(found[1]) for found in numbered if found] == list(range(len(names))):
        names = [found[2] for found in numbered if found]

    return Classes(tuple(names), str(path), colours)


def _line(line: str) -> tuple[str, tuple[int, int, int] | None]:
    """The name and the colour of a line, `name r g b` or `r g b name`; also CVAT's `name:r,g,b:parts:actions`."""
    line = re.sub(r"(:\d{1,3},\d{1,3},\d{1,3}):[^:]*:[^:]*$", r"\1", line)
    last, first = _COLOUR_LAST.fullmatch(line), _COLOUR_FIRST.fullmatch(line)
    if last:
        label, *parts = last.groups()
    elif first:
        *parts, label = first.groups()
    else:
        return line, None

    return label.strip(), (int(parts[0]), int(parts[1]), int(parts[2]))


def _ade(path: Path) -> Classes:
    """ADE20K's table: Idx from 1 on and Name; id 0 is no class."""
    text = text_of(path)
    delimiter = "," if path.suffix.lower() == ".csv" else "\t"
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))

    try:
        names = {int(row["Idx"]): row["Name"].strip().split(";")[0].split(",")[0] for row in rows}
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise DataError("has no columns Idx and Name", where=str(path), remedy="use ADE20K's own file") from error

    if sorted(names) != list(range(1, len(names) + 1)):
        raise DataError("Idx does not run from 1 on without a gap", where=str(path), remedy="use ADE20K's own file")

    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    listed = [f"{name} ({i})" if name in twice else name for i, name in sorted(names.items())]
    return Classes((_ADE_VOID, *listed), str(path), void=(0,))
