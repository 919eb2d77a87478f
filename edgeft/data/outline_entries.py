"""Masks from the shapes of annotation tools: the entries that their formats read, drawn over `background`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..config import recipe
from ..core.errors import DataError
from . import outlines
from .annotations import Entry, Finder, Shape
from .boxes import Wrong, header_of
from .samples import Dataset

#: corners of the polygon that an ellipse is drawn as
_CORNERS = 64


def opened(
    entries_of: Mapping[str, Iterable[Entry | Wrong]],
    finders: Mapping[str, Finder],
    names: Sequence[str],
    spec: recipe.Data,
    where: str,
    notes: list[str],
) -> Dataset:
    """The data set of pictures with the shapes of their entries drawn in order, a later one over an earlier one.

    A shape without an outline of its own is its box. `names` are the classes of shapes; a class called like the
    background is the background. Raises `DataError` where no shape is there, and what `outlines.opened` raises.
    """
    labels = (outlines.BACKGROUND, *(name for name in names if name != outlines.BACKGROUND))
    if len(labels) < 2:
        raise DataError("has no shape that encloses an area", where=where, remedy="draw polygons")

    number = {label: i for i, label in enumerate(labels)}
    drawn = {
        part: [_outlined(entry, finders[part], number, spec) for entry in entries]
        for part, entries in entries_of.items()
    }

    return outlines.opened(drawn, finders, labels, spec, where, notes)


def _outlined(
    entry: Entry | Wrong, finder: Finder, number: Mapping[str, int], spec: recipe.Data
) -> outlines.Outlined | Wrong:
    if isinstance(entry, Wrong):
        return entry

    try:
        file = finder.find(entry.name, entry.where, entry.stem)
        # tools that state no size show pictures as they are seen
        size = outlines.size_of(entry.size or header_of(file, spec).size, entry.where)
        inner = tuple(_outline(shape, number, size, entry.percent) for shape in entry.shapes)
    except Wrong as error:
        return error

    return outlines.Outlined(entry.where, entry.name, size, inner, file)


def _outline(shape: Shape, number: Mapping[str, int], size: tuple[int, int], percent: bool) -> outlines.Outline:
    if shape.label not in number:
        raise Wrong(shape.where, f"its class {shape.label!r} is none of the labels")
    if shape.runs:
        return outlines.Outline(number[shape.label], counts=_counts(shape, size, percent))

    x1, y1, x2, y2 = shape.corners
    points = shape.outline or (x1, y1, x2, y1, x2, y2, x1, y2)
    if percent:
        points = tuple(value * size[1 - i % 2] / 100 for i, value in enumerate(points))

    return outlines.Outline(number[shape.label], (outlines.polygon(points, size, shape.where),))


def _counts(shape: Shape, size: tuple[int, int], percent: bool = False) -> tuple[int, ...]:
    """Run lengths by columns of the picture, of run lengths by rows of the shape's box."""
    scale = [side / 100 if percent else 1 for side in (size[1], size[0]) * 2]
    left, top, right, bottom = (round(value * factor) for value, factor in zip(shape.corners, scale))
    high, wide = bottom - top, right - left
    inside = 0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]
    if not inside or sum(shape.runs) != high * wide:
        raise Wrong(shape.where, f"its run lengths add up to {sum(shape.runs)}, its box is {wide}x{high}")

    values = np.repeat(np.arange(len(shape.runs)) % 2 == 1, shape.runs).reshape(high, wide)
    whole = np.zeros(size, bool)
    whole[top:bottom, left:right] = values
    column = whole.ravel(order="F")
    edges = np.flatnonzero(np.diff(column)) + 1
    runs = np.diff(np.concatenate([[0], edges, [column.size]]))

    return tuple(int(run) for run in ([0, *runs] if column[0] else runs))


def ellipse(cx: float, cy: float, rx: float, ry: float) -> tuple[float, ...]:
    """The corners of an ellipse as x1, y1, x2, y2, ..."""
    turns = [2 * math.pi * k / _CORNERS for k in range(_CORNERS)]
    return tuple(v for turn in turns for v in (cx + rx * math.cos(turn), cy + ry * math.sin(turn)))


def flat(points: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """Points (x, y) as x1, y1, x2, y2, ..."""
    return tuple(float(value) for point in points for value in point[:2])
