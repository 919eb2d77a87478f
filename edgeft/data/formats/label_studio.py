"""Label Studio's JSON and JSON-MIN exports: a list of tasks with rectangles in percent of the picture.

Polygons, ellipses and turned rectangles count as the upright boxes around them. The pictures lie below the folder of
the file; a name may have the prefix that Label Studio gives to uploads. The data is divided here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...config import recipe
from ...core.errors import DataError
from .. import brush, recognize_tools
from ..annotations import (
    Entry,
    Finder,
    Kinds,
    Read,
    Shape,
    around,
    json_of,
    numbers_of,
    opened,
    turned_box,
    turned_points,
)
from ..boxes import Wrong
from ..folders import folder_named
from ..outline_entries import ellipse, flat
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset

_BOXES = ("rectanglelabels", "labels")
#: values of a region that are no label
_NO_LABELS = ("points", "keypointlabels", "choices", "text", "number", "rating", "taxonomy")


def open(spec: recipe.Data) -> Dataset:
    """What `read` reads, with the boxes of all shapes."""
    entries, finders, labels, name, notes, of_boxes = read(spec)
    return opened(entries, finders, labels, spec, name, [*notes, *of_boxes])


def read(spec: recipe.Data) -> Read:
    """The file at `spec.path`, or the only .json file of that folder; raises `DataError` naming what is wrong."""
    path = Path(spec.path)
    files = sorted(path.glob("*.json")) if spec.path and path.is_dir() else [path]
    if not spec.path or len(files) != 1 or not files[0].is_file():
        problem = "no such file" if len(files) == 1 else f"{len(files)} .json files are there"
        problem = problem if spec.path else "no data is given"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to Label Studio's export")

    file = files[0]
    tasks = json_of(file)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise DataError("is no list of tasks", where=str(file), remedy="export JSON or JSON-MIN from Label Studio")

    kinds, notes = Kinds(), list[str]()
    entries = [_entry(task, f"{file}: task[{i}]", kinds) for i, task in enumerate(tasks)]
    several = sum(len(_finished(task)) > 1 for task in tasks)
    if several:
        notes.append(f"{several} tasks have several annotations, of which the last one is taken")

    labels = sorted({shape.label for entry in entries if isinstance(entry, Entry) for shape in entry.shapes})
    folder = file.parent
    places = [place for place in (folder_named(folder, ("images",)), folder) if place is not None]
    finders = {"train": Finder(folder, places)}

    return {"train": entries}, finders, labels, str(file), [*notes, *kinds.not_read()], kinds.of_boxes()


def _finished(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The annotations of a task (JSON) that were not cancelled."""
    listed = task.get("annotations", task.get("completions"))
    rows = listed if isinstance(listed, list) else []
    return [row for row in rows if isinstance(row, dict) and not row.get("was_cancelled")]


def _regions(task: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The regions of a task: `value` of each result (JSON), or the lists of regions beside the picture (JSON-MIN)."""
    if "data" in task:
        for result in (_finished(task) or [{}])[-1].get("result") or []:
            value = result.get("value") if isinstance(result, dict) else None
            if isinstance(value, dict):
                sizes = {key: result[key] for key in ("original_width", "original_height") if key in result}
                yield {**sizes, **value}
        return
    for value in task.values():
        for region in value if isinstance(value, list) else []:
            if isinstance(region, dict):
                yield region


def _entry(task: Mapping[str, Any], where: str, kinds: Kinds) -> Entry | Wrong:
    table = task.get("data", task)
    name = next((table[key] for key in ("image", "img", "url") if isinstance(table.get(key), str)), None)
    name = name or next((v for v in table.values() if isinstance(v, str) and _is_picture(v)), None)
    if name is None:
        return Wrong(where, "names no picture")

    try:
        regions = list(_regions(task))
        shapes = [shape for region in regions for shape in _shapes(region, where, kinds)]
    except Wrong as error:
        return error

    sizes = [(region.get("original_height"), region.get("original_width")) for region in regions]
    stated = {(h, w) for h, w in sizes if isinstance(h, int) and isinstance(w, int)}
    return Entry(where, name, tuple(shapes), next(iter(stated)) if len(stated) == 1 else None, percent=True)


def _is_picture(text: str) -> bool:
    return Path(text.partition("?")[0]).suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def _shapes(region: Mapping[str, Any], where: str, kinds: Kinds) -> Iterator[Shape]:
    """A shape for each label of a region, in percent of the picture's sides."""
    key = next((k for k in region if k.endswith("labels") and k not in _NO_LABELS), "")
    names = region.get(key)
    if not key or not isinstance(names, list) or not names:
        other = next((k for k in _NO_LABELS if k in region), "regions without a label")
        kinds.left_out[other] += 1
        return

    outline: tuple[float, ...] = ()
    if "points" in region:
        kinds.outlines["polygons"] += 1
        rows = [dict(zip("xy", point)) for point in region["points"] if isinstance(point, list)]
        points = [numbers_of(row, ("x", "y"), where) for row in rows]
        if len(points) < 3:
            raise Wrong(where, "a polygon has fewer than three points")
        corners, outline = around([(point[0], point[1]) for point in points]), flat(points)
    elif "radiusX" in region:
        kinds.outlines["ellipses"] += 1
        x, y, rx, ry = numbers_of(region, ("x", "y", "radiusX", "radiusY"), where)
        corners, outline = (x - rx, y - ry, x + rx, y + ry), ellipse(x, y, rx, ry)
    elif key in _BOXES and "width" in region:
        corners, outline = _rectangle(region, where, kinds)
    elif region.get("format") == "rle" and isinstance(region.get("rle"), list):
        kinds.outlines["brushes"] += 1
        yield from _brushed(region, names, where)
        return
    else:
        kinds.left_out[key] += 1
        return

    for label in names:
        yield Shape(str(label), corners, where, outline=outline)


def _brushed(region: Mapping[str, Any], names: list[Any], where: str) -> Iterator[Shape]:
    """The shape of a brush, whose run lengths are those of the picture's own pixels; none where nothing is painted."""
    height, width = (region.get(key) for key in ("original_height", "original_width"))
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise Wrong(where, "a brush does not say how large its picture is")

    found = brush.around(brush.mask(region["rle"], (height, width), where))
    if found is None:
        return

    (x1, y1, x2, y2), runs = found
    corners = (100 * x1 / width, 100 * y1 / height, 100 * x2 / width, 100 * y2 / height)
    for label in names:
        yield Shape(str(label), corners, where, runs=runs)


def _rectangle(
    region: Mapping[str, Any], where: str, kinds: Kinds
) -> tuple[tuple[float, float, float, float], tuple[float, ...]]:
    """The upright box of a rectangle that is turned clockwise around its upper left corner, and its own outline."""
    x, y, w, h = numbers_of(region, ("x", "y", "width", "height"), where)
    degrees = numbers_of({"rotation": region.get("rotation") or 0}, ("rotation",), where)[0]
    if not degrees % 360:
        return (x, y, x + w, y + h), ()

    kinds.outlines["turned boxes"] += 1
    sides = [region.get("original_width"), region.get("original_height")]
    across, down = (float(v) if isinstance(v, (int, float)) and v else 1.0 for v in sides)
    px, py, pw, ph = x * across, y * down, w * across, h * down
    left, top, right, bottom = turned_box(px, py, pw, ph, degrees)

    # turned_box turns around the middle: move it to where the turn around the corner brings that middle
    dx, dy = _middle(pw, ph, degrees)
    box = (left + dx) / across, (top + dy) / down, (right + dx) / across, (bottom + dy) / down
    points = turned_points(px + dx, py + dy, pw, ph, degrees)

    return box, flat(((px_ / across, py_ / down) for px_, py_ in points))


def _middle(w: float, h: float, degrees: float) -> tuple[float, float]:
    """How far the middle of a rectangle moves when it is turned clockwise around its upper left corner."""

    angle = math.radians(degrees)
    cx, cy = w / 2, h / 2
    return cx * math.cos(angle) - cy * math.sin(angle) - cx, cx * math.sin(angle) + cy * math.cos(angle) - cy


FORMAT = Format(
    name="label-studio",
    description="Pictures with boxes in a JSON or JSON-MIN export of Label Studio.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.label_studio,
)
