"""CVAT's own XML: one annotations.xml of all pictures, which lie beside it or in images/.

"CVAT for images 1.1" lists pictures. "CVAT for video 1.1" lists tracks, each with a shape a frame; a frame's picture is
images/frame_000000.png, and every picture of that name is one of the data, since a frame without a shape has no object.
Boxes are read; polygons, masks, ellipses and turned boxes count as the upright boxes around them. Splits are the
subsets of a project ("Train", "Validation"); without any the data is divided here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from ...config import recipe
from ...core.errors import DataError
from ...inputs.picture_file import SUFFIXES
from .. import recognize_tools
from ..annotations import (
    Entry,
    Finder,
    Kinds,
    Read,
    Shape,
    around,
    numbers_of,
    opened,
    turned_box,
    turned_points,
    xml_of,
)
from ..boxes import Wrong
from ..folders import folder_named
from ..outline_entries import ellipse, flat
from ..pictures import KEYS
from ..record import Format
from ..samples import NAMES, Dataset, split_named


def open(spec: recipe.Data) -> Dataset:
    """What `read` reads, with the boxes of all shapes."""
    entries, finders, labels, name, notes, of_boxes = read(spec)
    return opened(entries, finders, labels, spec, name, [*notes, *of_boxes])


def read(spec: recipe.Data) -> Read:
    """The file at `spec.path`, or annotations.xml in that folder; raises `DataError` naming what is wrong."""
    path = Path(spec.path)
    file = path / "annotations.xml" if path.is_dir() else path
    if not spec.path or not file.is_file():
        problem = "no data is given" if not spec.path else "no such file"
        raise DataError(
            problem, where=str(file) if spec.path else "data.path", remedy="set data.path to annotations.xml"
        )

    root = xml_of(file)
    if root.tag != "annotations":
        raise DataError(
            f"is <{root.tag}>, expected <annotations>", where=str(file), remedy='export "CVAT for images 1.1"'
        )

    kinds, folder = Kinds(), file.parent
    places = [place for place in (folder_named(folder, ("images",)), folder) if place is not None]
    if root.find("track") is not None:
        entries = {"train": _frames(root, file, places, kinds)}
    else:
        entries = _listed(root, file, kinds)

    used = {s.label for part in entries.values() for e in part if isinstance(e, Entry) for s in e.shapes}
    stated = [(label.findtext("name") or "").strip() for label in root.iterfind("meta//labels/label")]
    labels = list(dict.fromkeys([*(name for name in stated if name), *sorted(used)]))
    finder = Finder(folder, places)
    ordered = {part: entries[part] for part in NAMES if part in entries}

    return ordered, dict.fromkeys(ordered, finder), labels, str(file), kinds.not_read(), kinds.of_boxes()


def _listed(root: Element, file: Path, kinds: Kinds) -> dict[str, list[Entry | Wrong]]:
    """The pictures by split."""
    entries = dict[str, list[Entry | Wrong]]()
    for node in root.iterfind("image"):
        subset = node.get("subset", "")
        part = split_named(subset) or "train"
        if subset and not split_named(subset) and subset.lower() != "default":
            raise DataError(
                f"the subset {subset!r} is none of train, validation and test",
                where=str(file),
                remedy="rename it in CVAT",
            )
        entries.setdefault(part, []).append(_entry(node, file, kinds))

    return entries


def _frames(root: Element, file: Path, places: Sequence[Path], kinds: Kinds) -> list[Entry | Wrong]:
    """The frames of a video whose pictures are there, with the shapes that tracks have in them."""
    tasks = {track.get("task_id") for track in root.iterfind("track")}
    if len(tasks) > 1 or root.find("image") is not None:
        raise DataError(
            "holds tracks of several videos, or pictures beside tracks, whose frames have the same names",
            where=str(file),
            remedy="export each task of the project by itself",
        )

    pictures = {
        int(match[1]): path
        for place in reversed(places)
        for path in sorted(place.iterdir())
        if (match := re.fullmatch(r"frame_(\d{6,})", path.stem)) and path.suffix.lower() in SUFFIXES
    }
    if not pictures:
        raise DataError(
            "holds tracks of a video, and no picture of its frames (frame_000000.png) is in images/",
            where=str(file),
            remedy='export "CVAT for video 1.1" with "Save images"',
        )

    shapes: dict[int, list[tuple[float, Shape]]] = {number: [] for number in pictures}
    wrong: dict[int, Wrong] = {}
    for track in root.iterfind("track"):
        for node in track:
            where = f"{file}: track {track.get('id', '')!r}, frame {node.get('frame', '')!r}"
            number = -1 - len(wrong)  # of a shape whose frame cannot be read
            try:
                number = int(numbers_of(node.attrib, ("frame",), where)[0])
                depth = numbers_of({"z_order": 0, **node.attrib}, ("z_order",), where)[0]
                shape = _shape(node, track.get("label", ""), where, kinds) if node.get("outside") != "1" else None
                if shape is not None:
                    shapes.setdefault(number, []).append((depth, shape))
            except Wrong as error:
                wrong[number] = error

    for number in shapes.keys() - pictures:
        wrong[number] = Wrong(f"{file}: frame {number}", "the picture of this frame does not exist")
    frames = [
        Entry(f"{file}: frame {n}", path.name, tuple(shape for _, shape in sorted(shapes[n], key=lambda pair: pair[0])))
        for n, path in sorted(pictures.items())
        if n not in wrong
    ]
    return [*frames, *(wrong[n] for n in sorted(wrong))]


def _entry(node: Element, file: Path, kinds: Kinds) -> Entry | Wrong:
    name = node.get("name", "")
    where = f"{file}: image {name!r}"
    try:
        nodes = sorted(node, key=lambda child: numbers_of({"z": child.get("z_order", 0)}, ("z",), where)[0])
        shapes = [_shape(child, child.get("label", ""), where, kinds) for child in nodes]
        width, height = numbers_of(node.attrib, ("width", "height"), where)
        return Entry(where, name, tuple(s for s in shapes if s is not None), (int(height), int(width)))
    except Wrong as error:
        return error


def _shape(node: Element, label: str, where: str, kinds: Kinds) -> Shape | None:
    values = node.attrib
    if node.tag == "box":
        x1, y1, x2, y2 = numbers_of(values, ("xtl", "ytl", "xbr", "ybr"), where)
        degrees = numbers_of({"rotation": values.get("rotation", 0)}, ("rotation",), where)[0]
        if degrees % 360:
            kinds.outlines["turned boxes"] += 1
            points = turned_points(x1, y1, x2 - x1, y2 - y1, degrees)
            return Shape(label, turned_box(x1, y1, x2 - x1, y2 - y1, degrees), where, outline=flat(points))
        return Shape(label, (x1, y1, x2, y2), where)

    if node.tag == "polygon":
        kinds.outlines["polygons"] += 1
        points = [_point(text, where) for text in values.get("points", "").split(";")]
        return Shape(label, around(points), where, outline=flat(points))

    if node.tag == "ellipse":
        kinds.outlines["ellipses"] += 1
        cx, cy, rx, ry = numbers_of(values, ("cx", "cy", "rx", "ry"), where)
        return Shape(label, (cx - rx, cy - ry, cx + rx, cy + ry), where, outline=ellipse(cx, cy, rx, ry))

    if node.tag == "mask":
        kinds.outlines["masks"] += 1
        left, top, width, height = numbers_of(values, ("left", "top", "width", "height"), where)
        runs = tuple(int(text) for text in values.get("rle", "").replace(",", " ").split() if text.isdigit())
        return Shape(label, (left, top, left + width, top + height), where, runs=runs)

    kinds.left_out[node.tag] += 1
    return None


def _point(text: str, where: str) -> tuple[float, float]:
    x, _, y = text.partition(",")
    values = numbers_of({"x": x, "y": y}, ("x", "y"), where)
    return values[0], values[1]


FORMAT = Format(
    name="cvat",
    description='Pictures with boxes in an annotations.xml of CVAT ("CVAT for images 1.1" and "for video 1.1").',
    open=open,
    keys=KEYS,
    recognize=recognize_tools.cvat,
)
