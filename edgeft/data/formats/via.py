"""VIA, the VGG Image Annotator: regions of pictures in a JSON project, a JSON export, or a CSV export.

Rectangles are read; circles, ellipses and polygons count as the upright boxes around them. A region's class is the
attribute that all regions have; the data is divided here.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...config import recipe
from ...core import strict_json
from ...core.errors import DataError
from .. import recognize_tools
from ..annotations import Entry, Finder, Kinds, Read, Shape, around, json_of, numbers_of, opened, text_of
from ..boxes import Wrong
from ..folders import folder_named
from ..outline_entries import ellipse, flat
from ..pictures import KEYS
from ..record import Format
from ..samples import Dataset

#: attributes that name the class where regions have several
CLASS_ATTRIBUTES = ("class", "label", "name", "type", "category", "object")


def open(spec: recipe.Data) -> Dataset:
    """What `read` reads, with the boxes of all shapes."""
    entries, finders, labels, name, notes, of_boxes = read(spec)
    return opened(entries, finders, labels, spec, name, [*notes, *of_boxes])


def read(spec: recipe.Data) -> Read:
    """The file at `spec.path`, or the only .json or .csv file there; raises `DataError` naming what is wrong."""
    path = Path(spec.path)
    folder = spec.path and path.is_dir()
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in (".json", ".csv")) if folder else [path]

    if not spec.path or len(files) != 1 or not files[0].is_file():
        problem = "no such file" if len(files) == 1 else f"{len(files)} .json and .csv files are there"
        problem = problem if spec.path else "no data is given"
        raise DataError(problem, where=spec.path or "data.path", remedy="set data.path to VIA's export")

    file, kinds = files[0], Kinds()
    regions_of = _of_csv(file) if file.suffix.lower() == ".csv" else _of_json(file)
    attribute, notes = _attribute(regions_of, file)
    entries = [_entry(name, regions, attribute, file, kinds) for name, regions in regions_of.items()]
    labels = sorted({shape.label for entry in entries if isinstance(entry, Entry) for shape in entry.shapes})
    places = [place for place in (folder_named(file.parent, ("images",)), file.parent) if place is not None]
    finders = {"train": Finder(file.parent, places)}

    return {"train": entries}, finders, labels, str(file), [*notes, *kinds.not_read()], kinds.of_boxes()


Regions = dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]]


def _of_json(file: Path) -> Regions:
    """{picture: [(shape, attributes)]} of a project or an export; VIA 1 has regions by number, VIA 2 a list."""
    table = json_of(file)
    table = table.get("_via_img_metadata", table) if isinstance(table, dict) else table
    if not isinstance(table, dict) or not table:
        raise DataError("has no pictures", where=str(file), remedy="export annotations as JSON from VIA")

    regions_of: Regions = {}
    for key, row in table.items():
        if not isinstance(row, dict) or not isinstance(row.get("filename"), str):
            raise DataError(f"the entry {key!r} has no filename", where=str(file), remedy="export JSON from VIA 1 or 2")
        regions = row.get("regions") or []
        listed = list(regions.values()) if isinstance(regions, dict) else regions
        regions_of.setdefault(row["filename"], []).extend(
            (_table(r.get("shape_attributes")), _table(r.get("region_attributes")))
            for r in listed
            if isinstance(r, dict)
        )

    return regions_of


def _of_csv(file: Path) -> Regions:
    """The same of VIA's table: a row a region, its shape and attributes as JSON."""
    lines = text_of(file).splitlines(keepends=True)
    rows = list(csv.DictReader(io.StringIO("".join(lines).lstrip("#"))))
    needed = {"filename", "region_shape_attributes", "region_attributes"}
    if not rows or not needed <= set(rows[0]):
        raise DataError(f"has no columns {', '.join(sorted(needed))}", where=f"{file}:1", remedy="export CSV from VIA")

    regions_of: Regions = {}
    for number, row in enumerate(rows, 2):
        try:
            shape, attributes = (
                _table(strict_json.loads(row[key] or "{}")) for key in ("region_shape_attributes", "region_attributes")
            )
        except json.JSONDecodeError as error:
            raise DataError(f"a field is not JSON: {error.msg}", where=f"{file}: row {number}") from error
        listed = regions_of.setdefault(row["filename"], [])
        if shape:
            listed.append((shape, attributes))

    return regions_of


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _attribute(regions_of: Regions, file: Path) -> tuple[str, list[str]]:
    """The attribute that is the class; the only one, or the one that is called so. "" where regions have none."""
    counts = Counter(key for regions in regions_of.values() for _, attributes in regions for key in attributes)
    if len(counts) <= 1:
        return next(iter(counts), ""), []

    named = next((key for word in CLASS_ATTRIBUTES for key in counts if key.lower() == word), "")
    if not named:
        raise DataError(
            f"regions have several attributes, {', '.join(sorted(counts))}: which one is the class?",
            where=str(file),
            remedy=f"call it {CLASS_ATTRIBUTES[0]!r}",
        )

    return named, [f"of the attributes {', '.join(sorted(counts))}, {named!r} is taken as the class"]


def _entry(
    name: str, regions: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], attribute: str, file: Path, kinds: Kinds
) -> Entry | Wrong:
    where = f"{file}: {name!r}"
    try:
        shapes = [
            Shape(label, corners, where, outline=_outline(shape, where))
            for shape, attributes in regions
            if (corners := _corners(shape, where, kinds)) is not None
            for label in _labels(attributes.get(attribute), where, attribute)
        ]
    except Wrong as error:
        return error

    return Entry(where, name, tuple(shapes))


def _labels(value: Any, where: str, attribute: str) -> Iterator[str]:
    """The class of a region: a text, or the ticked ones of {"cat": true}. Without an attribute all are "object"."""
    if not attribute:
        yield "object"
        return

    names = (
        [str(key) for key, ticked in value.items() if ticked] if isinstance(value, dict) else [str(value or "").strip()]
    )
    if not names or not all(names):
        raise Wrong(where, f"a region has no {attribute!r}")

    yield from names


def _corners(shape: Mapping[str, Any], where: str, kinds: Kinds) -> tuple[float, float, float, float] | None:
    kind = shape.get("name")
    if kind == "rect":
        x, y, w, h = numbers_of(shape, ("x", "y", "width", "height"), where)
        return x, y, x + w, y + h

    if kind in ("circle", "ellipse"):
        kinds.outlines[f"{kind}s"] += 1
        keys = ("cx", "cy", "r", "r") if kind == "circle" else ("cx", "cy", "rx", "ry")
        cx, cy, rx, ry = numbers_of(shape, keys, where)
        return cx - rx, cy - ry, cx + rx, cy + ry

    if kind in ("polygon", "polyline"):
        kinds.outlines["polygons"] += 1
        return around(_points(shape, where))

    kinds.left_out[str(kind)] += 1
    return None


def _outline(shape: Mapping[str, Any], where: str) -> tuple[float, ...]:
    """What is drawn of a shape; () for a rectangle."""
    kind = shape.get("name")
    if kind in ("polygon", "polyline"):
        return flat(_points(shape, where))
    if kind in ("circle", "ellipse"):
        keys = ("cx", "cy", "r", "r") if kind == "circle" else ("cx", "cy", "rx", "ry")
        cx, cy, rx, ry = numbers_of(shape, keys, where)
        return ellipse(cx, cy, rx, ry)
    return ()


def _points(shape: Mapping[str, Any], where: str) -> list[tuple[float, float]]:
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys) or not xs:
        raise Wrong(where, "a polygon has no points")
    points = [numbers_of({"x": x, "y": y}, ("x", "y"), where) for x, y in zip(xs, ys)]
    return [(x, y) for x, y in points]


FORMAT = Format(
    name="via",
    description="Pictures with boxes in a JSON or CSV export of VIA, the VGG Image Annotator.",
    open=open,
    keys=KEYS,
    recognize=recognize_tools.via,
)
