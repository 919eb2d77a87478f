"""Masks from YOLO's text format of outlines: a line is a class number and x and y of three or more points.

The points are shares of the picture's sides. Outlines are drawn from the largest to the smallest over the class
`background`; folders, lists and `data.yaml` are those of the format `yolo`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...config import recipe
from ...core.errors import DataError
from .. import outlines, recognize_tools
from ..boxes import Wrong, header_of
from ..pictures import KEYS, Unread
from ..record import Format
from ..samples import NAMES, Dataset
from . import yolo


def open(spec: recipe.Data) -> Dataset:
    """The folder or `data.yaml` at `spec.path`; labels are the background and the named classes in their order.

    Raises `DataError` naming file and line of what is wrong; a picture with a line that is wrong is left out, and more
    than 5 % of them in a split stop the run. `Missing` without pycocotools.
    """
    root, names, places, notes, _ = yolo.located(spec)
    if not names:
        raise DataError("names no classes", where=str(root), remedy="list them in data.yaml (names) or classes.txt")

    labels = (outlines.BACKGROUND, *(name for name in names if name != outlines.BACKGROUND))
    numbers = [labels.index(name) for name in names]
    unread, boxes = Unread(), list[str]()
    outlined = {
        part: list(_outlined(root, yolo.picture_files(root, places[part], unread), numbers, spec, boxes))
        for part in NAMES
        if part in places
    }

    if not any(picture.outlines for part in outlined.values() for picture in part if not isinstance(picture, Wrong)):
        if boxes:
            raise DataError("has boxes and no outlines", where=boxes[0], remedy='format = "yolo" reads boxes')
    elif boxes:
        notes.append(f"{len(boxes)} lines are boxes and no outlines and are not drawn, for example {boxes[0]}")

    return outlines.opened(outlined, {}, labels, spec, str(root), [*notes, *unread.notes()])


def _outlined(
    root: Path, files: list[Path], numbers: list[int], spec: recipe.Data, boxes: list[str]
) -> Iterator[outlines.Outlined | Wrong]:
    for path in files:
        label = yolo.label_file(root, path)
        try:
            height, width = header_of(path, spec).size
            drawn = []
            for where, kind, values in yolo.rows_of(label, len(numbers)) if label.is_file() else ():
                if len(values) == 4:
                    boxes.append(where)
                    continue
                points = _points(values, where)
                scaled = tuple(value * (width, height)[i % 2] for i, value in enumerate(points))
                drawn.append((_area(points), outlines.Outline(numbers[kind], (scaled,))))
        except Wrong as error:
            yield error
            continue
        ordered = sorted(drawn, key=lambda pair: -pair[0])
        yield outlines.Outlined(str(label), path.name, (height, width), tuple(o for _, o in ordered), path)


def _points(values: list[float], where: str) -> list[float]:
    if len(values) < 6 or len(values) % 2:
        raise Wrong(where, f"{len(values) + 1} values, expected a class, then x and y of three or more points")
    if not all(-1 <= value <= 2 for value in values):
        largest = max(values, key=abs)
        raise Wrong(where, f"{largest:g} is not a share of the picture's side: are these pixels?")
    return [min(1.0, max(0.0, value)) for value in values]


def _area(points: list[float]) -> float:
    """The area of a polygon by the shoelace formula."""
    xs, ys = points[::2], points[1::2]
    return abs(sum(x * ys[i - 1] - y * xs[i - 1] for i, (x, y) in enumerate(zip(xs, ys)))) / 2


FORMAT = Format(
    name="yolo-masks",
    description="Pictures with a text file of outlines each, and data.yaml, as YOLO's segmentation has them.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.yolo_masks,
)
